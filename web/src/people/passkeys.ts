/** Passkeys: what the server asks is handed to the browser's authenticator, and its answer back. */
import { call, type Progress } from './api';
import { CancelledError, ElsewhereError } from './passkey_errors';

interface Ceremony<T> {
  token: string;
  options: { publicKey: T };
}

/** Not every browser has passkeys, and none has them on pages at a plain address. */
export const passkeysThere = () => typeof window.PublicKeyCredential?.parseRequestOptionsFromJSON === 'function' && window.isSecureContext;

async function answerOf(work: Promise<Credential | null>): Promise<unknown> {
  try {
    const credential = await work;
    return credential === null ? {} : (credential as PublicKeyCredential).toJSON();
  } catch (err) {
    throw err instanceof DOMException && ['NotAllowedError', 'AbortError', 'InvalidStateError'].includes(err.name) ? new CancelledError(err.message) : err;
  }
}

function checkHost(host: string | undefined) {
  if (host !== undefined && host !== window.location.hostname) {
    throw new ElsewhereError(host);
  }
}

async function signed(begin: string, input: unknown): Promise<{ token: string; credential: unknown }> {
  const asked = await call<Ceremony<PublicKeyCredentialRequestOptionsJSON>>('POST', begin, input);
  checkHost(asked.options.publicKey.rpId);
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(asked.options.publicKey);
  return { token: asked.token, credential: await answerOf(navigator.credentials.get({ publicKey })) };
}

export async function addPasskey(name: string): Promise<string[]> {
  const asked = await call<Ceremony<PublicKeyCredentialCreationOptionsJSON>>('POST', '/me/passkeys/begin');
  checkHost(asked.options.publicKey.rp.id);
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(asked.options.publicKey);
  const credential = await answerOf(navigator.credentials.create({ publicKey }));
  const made = await call<{ recoveryCodes: string[] | null }>('POST', '/me/passkeys', { token: asked.token, name, credential });
  return made.recoveryCodes ?? [];
}

export const signInWithPasskey = async () => call<Progress>('POST', '/signin/passkey', await signed('/signin/passkey/begin', {}));

export const passkeyAsFactor = async (factor: string, remember: boolean) =>
  call<Progress>('POST', '/factor/passkey', { ...(await signed('/factor/passkey/begin', { token: factor })), factor, remember });

export const stepUpWithPasskey = async () => call<unknown>('POST', '/me/stepup/passkey', await signed('/me/stepup/passkey/begin', {}));
