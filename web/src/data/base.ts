/** The dashboard workspace that this page is of: its pages and its API are below one path. */

/** prefixOf reads the prefix of a path such as /w/g-0123456789/d/x; it is empty for the default workspace. */
export function prefixOf(pathname: string): string {
  return /^\/w\/g-[0-9a-f]{10}(?=\/|$)/.exec(pathname)?.[0] ?? '';
}

/** basename begins the addresses of all pages of this workspace. */
export const basename = prefixOf(window.location.pathname);

/** apiPath is where an API path is: that of the workspace, except for what is about people, which is one for all. */
export function apiPath(path: string, base: string = basename): string {
  return path.startsWith('/api/') && !path.startsWith('/api/people/') ? base + path : path;
}
