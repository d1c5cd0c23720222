/** The links of a value that has some; loaded when the first such value is drawn. */
import type { LinkModel } from '@grafana/data';
import type { ReactElement } from 'react';
import { DataLinksContextMenu } from '../../ui';
import type { Link } from './linked';

export default function LinkMenu({ links, children }: { links: () => LinkModel[]; children: (link: Link) => ReactElement }) {
  return (
    <DataLinksContextMenu links={links}>{(api) => children({ has: true, className: api.targetClassName, open: api.openMenu as Link['open'] })}</DataLinksContextMenu>
  );
}
