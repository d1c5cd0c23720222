/** Wraps a value that has data links: one link is a plain anchor, several open a menu. */
import type { FieldDisplay } from '@grafana/data';
import type { MouseEvent, ReactElement } from 'react';
import { DataLinksContextMenu } from '../../ui';

interface Link {
  has: boolean;
  className?: string;
  open?: (e: MouseEvent<HTMLElement>) => void;
}

export function Linked({ value, children }: { value: FieldDisplay; children: (link: Link) => ReactElement }) {
  if (!value.hasLinks || !value.getLinks) {
    return children({ has: false });
  }
  return (
    <DataLinksContextMenu links={() => value.getLinks?.() ?? []}>
      {(api) => children({ has: true, className: api.targetClassName, open: api.openMenu as Link['open'] })}
    </DataLinksContextMenu>
  );
}
