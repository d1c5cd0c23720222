/** Who is signed in, for the pages below the sign-in gate. */
import { createContext } from 'react';
import type { User } from '../data/api';

export interface Session {
  user: User;
  onSignedOut: () => void;
}

export const SessionContext = createContext<Session | null>(null);

/** wantedPage reads where to go after sign-in; only paths of this server are taken, never other addresses. */
export function wantedPage(search: string): string {
  const to = new URLSearchParams(search).get('redirectTo') ?? '/';
  if (!to.startsWith('/') || to.startsWith('//') || to.includes('\\') || to.startsWith('/login')) {
    return '/';
  }
  return to;
}
