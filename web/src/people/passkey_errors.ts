/** What can go wrong with passkeys before the server is asked; apart from the rest, as texts are loaded by every page. */
/** ElsewhereError says that passkeys belong to the pages at another address than the one that is open. */
export class ElsewhereError extends Error {
  readonly host: string;

  constructor(host: string) {
    super(host);
    this.host = host;
  }
}

/** CancelledError says that the person, or the browser, let it be. */
export class CancelledError extends Error {}
