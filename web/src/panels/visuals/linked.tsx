/** Wraps a value that has data links: one link is a plain anchor, several open a menu. */
import type { FieldDisplay } from '@grafana/data';
import { lazy, Suspense, type MouseEvent, type ReactElement } from 'react';

const LinkMenu = lazy(() => import('./link_menu'));

export interface Link {
  has: boolean;
  className?: string;
  open?: (e: MouseEvent<HTMLElement>) => void;
}

export function Linked({ value, children }: { value: FieldDisplay; children: (link: Link) => ReactElement }) {
  if (!value.hasLinks || !value.getLinks) {
    return children({ has: false });
  }
  return (
    <Suspense fallback={children({ has: false })}>
      <LinkMenu links={() => value.getLinks?.() ?? []}>{children}</LinkMenu>
    </Suspense>
  );
}
