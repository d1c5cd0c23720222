import { describe, expect, it } from 'vitest';
import { apiPath, prefixOf } from './base';

describe('the workspace of a page', () => {
  it('is read from the path', () => {
    expect(prefixOf('/w/g-0123456789/d/x')).toBe('/w/g-0123456789');
    expect(prefixOf('/w/g-0123456789')).toBe('/w/g-0123456789');
    expect(prefixOf('/d/x')).toBe('');
    expect(prefixOf('/w/g-0123456789x/')).toBe('');
    expect(prefixOf('/w/g-01234/')).toBe('');
    expect(prefixOf('/x/w/g-0123456789/')).toBe('');
  });
  it('has an API of its own, and people in common', () => {
    expect(apiPath('/api/user', '/w/g-0123456789')).toBe('/w/g-0123456789/api/user');
    expect(apiPath('/api/people/me', '/w/g-0123456789')).toBe('/api/people/me');
    expect(apiPath('/api/user', '')).toBe('/api/user');
  });
});
