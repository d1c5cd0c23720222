/** The links of a board's toolbar: single addresses, or all boards that carry a tag. */
import { css } from '@emotion/css';
import { textUtil, type GrafanaTheme2 } from '@grafana/data';
import { interpolate, type Scope } from '../board/interpolate';
import type { Board, BoardLink } from '../board/model';
import { urlValues, type Resolved } from '../board/variables';
import { writeVariables } from '../board/urlstate';
import { searchBoards } from '../data/api';
import { Dropdown, LinkButton, Menu, ToolbarButton, useStyles2 } from '../ui';
import { useLoad } from '../ui/hooks';

interface Props {
  board: Board;
  scope: Scope;
  params: URLSearchParams;
  variables: readonly Resolved[];
}

export function BoardLinks({ board, scope, params, variables }: Props) {
  const styles = useStyles2(getStyles);
  if (board.links.length === 0) {
    return null;
  }
  return (
    <div className={styles.links}>
      {board.links.map((l, i) => {
        const suffix = linkParams(l, params, variables);
        return l.type === 'link' ? <UrlLink key={i} link={l} scope={scope} suffix={suffix} /> : <TagLink key={i} link={l} suffix={suffix} />;
      })}
    </div>
  );
}

function linkParams(l: BoardLink, params: URLSearchParams, variables: readonly Resolved[]): string {
  let out = new URLSearchParams();
  if (l.keepTime) {
    for (const key of ['from', 'to']) {
      const v = params.get(key);
      if (v !== null) {
        out.set(key, v);
      }
    }
  }
  if (l.includeVars) {
    out = writeVariables(out, urlValues(variables));
  }
  return out.toString();
}

function withParams(url: string, suffix: string): string {
  return suffix === '' ? url : `${url}${url.includes('?') ? '&' : '?'}${suffix}`;
}

function UrlLink({ link, scope, suffix }: { link: BoardLink; scope: Scope; suffix: string }) {
  const url = textUtil.sanitizeUrl(interpolate(link.url, scope, { format: 'text' }));
  const title = interpolate(link.title, scope, { format: 'text' });
  const external = link.targetBlank ? { target: '_blank', rel: 'noopener noreferrer' } : {};
  return (
    <LinkButton variant="secondary" size="sm" icon="external-link-alt" href={withParams(url, suffix)} {...external}>
      {title || url}
    </LinkButton>
  );
}

function TagLink({ link, suffix }: { link: BoardLink; suffix: string }) {
  const hits = useLoad(`links-${link.tags.join()}`, (signal) => searchBoards('', link.tags, signal));
  const menu = (
    <Menu>
      {(hits.value ?? []).map((b) => (
        <Menu.Item key={b.uid} label={b.title} url={withParams(`/d/${encodeURIComponent(b.uid)}`, suffix)} target={link.targetBlank ? '_blank' : undefined} />
      ))}
    </Menu>
  );
  return (
    <Dropdown overlay={menu} placement="bottom-end">
      <ToolbarButton icon="bars" variant="canvas">
        {link.title || link.tags.join(', ')}
      </ToolbarButton>
    </Dropdown>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  links: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(1), marginLeft: 'auto' }),
});
