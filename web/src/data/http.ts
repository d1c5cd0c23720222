/** HTTP to the server this page came from: JSON, the anti-forgery header, and errors that say what went wrong. */

import { apiPath } from './base';

/** ApiError is an answer that was not a success; its message is the server's own sentence. */
export class ApiError extends Error {
  readonly status: number;
  readonly type: string;
  /** What to do about it, where the server said so. */
  readonly advice: string;

  constructor(status: number, message: string, type = '', advice = '') {
    super(message);
    this.name = 'ApiError';
    this.status = status;
    this.type = type;
    this.advice = advice;
  }
}

let csrfToken = '';
let onSignedOut: () => void = () => undefined;

/** setCsrfToken keeps the token of the present session; every request that is not a GET carries it. */
export function setCsrfToken(token: string): void {
  csrfToken = token;
}

/** setSignedOutHandler is called once the server says the session is gone. */
export function setSignedOutHandler(handler: () => void): void {
  onSignedOut = handler;
}

export interface RequestOptions {
  method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  json?: unknown;
  form?: URLSearchParams;
  signal?: AbortSignal;
  /** Login itself may answer 401 without meaning that a session ended. */
  expectUnauthorized?: boolean;
}

/** request sends one request and answers the parsed JSON. */
export async function request<T>(path: string, options: RequestOptions = {}): Promise<T> {
  const method = options.method ?? (options.json !== undefined || options.form ? 'POST' : 'GET');
  const headers: Record<string, string> = { Accept: 'application/json' };
  let body: BodyInit | undefined;
  if (options.form) {
    headers['Content-Type'] = 'application/x-www-form-urlencoded';
    body = options.form.toString();
  } else if (options.json !== undefined) {
    headers['Content-Type'] = 'application/json';
    body = JSON.stringify(options.json);
  }
  if (method !== 'GET') {
    headers['X-CSRF-Token'] = csrfToken;
  }
  let response: Response;
  try {
    response = await fetch(apiPath(path), { method, headers, body, signal: options.signal, credentials: 'same-origin' });
  } catch (err) {
    options.signal?.throwIfAborted();
    throw new ApiError(0, `The server cannot be reached (${err instanceof Error ? err.message : String(err)}).`, 'network');
  }
  const text = await response.text();
  const parsed = parse(text);
  if (!response.ok) {
    if (response.status === 401 && !options.expectUnauthorized) {
      onSignedOut();
    }
    throw errorOf(response.status, parsed, text);
  }
  if (parsed === undefined && text !== '') {
    throw new ApiError(response.status, 'The server answered something that is not JSON.', 'format');
  }
  return parsed as T;
}

function parse(text: string): unknown {
  try {
    return text === '' ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}

function errorOf(status: number, body: unknown, text: string): ApiError {
  if (typeof body === 'object' && body !== null) {
    const b = body as { error?: unknown; message?: unknown; errorType?: unknown; details?: { advice?: unknown } };
    const message = typeof b.error === 'string' ? b.error : typeof b.message === 'string' ? b.message : '';
    if (message !== '') {
      return new ApiError(status, message, typeof b.errorType === 'string' ? b.errorType : '', typeof b.details?.advice === 'string' ? b.details.advice : '');
    }
  }
  const line = text.split('\n')[0]?.slice(0, 200) ?? '';
  return new ApiError(status, line === '' || line.startsWith('<') ? `The server answered ${status}.` : line);
}
