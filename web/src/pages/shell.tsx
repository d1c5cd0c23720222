/** The frame around every page: side navigation, top bar with the page's name and tools. */
import { css } from '@emotion/css';
import type { GrafanaTheme2 } from '@grafana/data';
import { useContext, type ReactNode } from 'react';
import { Link, NavLink, useLocation, useSearchParams } from 'react-router';
import { logout } from '../data/api';
import { basename } from '../data/base';
import { Icon, IconButton, LinkButton, useLanguage, useStyles2, useT, useThemeMode, type IconName, type MessageKey } from '../ui';
import { useDocumentTitle } from '../ui/hooks';
import { SessionContext } from './session';

const ENTRIES: { to: string; key: MessageKey; icon: IconName }[] = [
  { to: '/', key: 'nav.home', icon: 'home-alt' },
  { to: '/dashboards', key: 'nav.boards', icon: 'apps' },
  { to: '/explore', key: 'nav.explore', icon: 'compass' },
  { to: '/alerts', key: 'nav.alerts', icon: 'bell' },
];

export interface Crumb {
  text: string;
  to?: string;
}

interface Props {
  crumbs: Crumb[];
  tools?: ReactNode;
  children: ReactNode;
}

export function Shell({ crumbs, tools, children }: Props) {
  const t = useT();
  const styles = useStyles2(getStyles);
  const { pathname } = useLocation();
  const session = useContext(SessionContext);
  const kiosk = useKiosk();
  useDocumentTitle(crumbs.map((c) => c.text).slice(-1)[0] ?? '');
  if (kiosk) {
    return (
      <div className={styles.page}>
        <main id="content" className={styles.main} style={{ scrollbarGutter: 'auto' }}>
          {children}
        </main>
      </div>
    );
  }
  return (
    <div className={styles.page}>
      <a className={styles.skip} href="#content">
        {t('nav.skip')}
      </a>
      <header className={styles.top}>
        <Link to="/" className={styles.brand} aria-label={`Mangru, ${t('nav.home')}`}>
          <Tower />
          <span>Mangru</span>
        </Link>
        <nav aria-label="breadcrumbs" className={styles.crumbs}>
          <ol>
            {crumbs.map((c, i) => (
              <li key={i}>
                {i > 0 && <Icon name="angle-right" />}
                {c.to ? <Link to={c.to}>{c.text}</Link> : <span aria-current="page">{c.text}</span>}
              </li>
            ))}
          </ol>
        </nav>
        <div className={styles.tools}>{tools}</div>
        <Personal />
      </header>
      <div className={styles.below}>
        <nav className={styles.side} aria-label={t('nav.main')}>
          {ENTRIES.map((e) => (
            <NavLink key={e.to} to={e.to} end={e.to === '/'} className={({ isActive }) => `${styles.entry} ${isActive || (e.to === '/dashboards' && pathname.startsWith('/d/')) ? styles.active : ''}`}>
              <Icon name={e.icon} size="lg" />
              <span>{t(e.key)}</span>
            </NavLink>
          ))}
          {session?.user.orgRole === 'Admin' && (
            <NavLink to="/datasources" className={({ isActive }) => `${styles.entry} ${isActive ? styles.active : ''}`}>
              <Icon name="database" size="lg" />
              <span>{t('nav.sources')}</span>
            </NavLink>
          )}
        </nav>
        <main id="content" className={styles.main} tabIndex={-1}>
          {children}
        </main>
      </div>
    </div>
  );
}

/** useKiosk tells whether the address asks for the page alone, without navigation and tools, as for a screen on a wall or a picture. */
export function useKiosk(): boolean {
  return useSearchParams()[0].has('kiosk');
}

function Personal() {
  const t = useT();
  const { mode, toggle } = useThemeMode();
  const { language, setLanguage } = useLanguage();
  const session = useContext(SessionContext);
  const styles = useStyles2(getStyles);
  return (
    <div className={styles.tools}>
      <button type="button" className={styles.language} lang={language === 'en' ? 'ko' : 'en'} onClick={() => setLanguage(language === 'en' ? 'ko' : 'en')}>
        {t('nav.language')}
      </button>
      <IconButton name="palette" size="lg" tooltip={t(mode === 'dark' ? 'nav.light' : 'nav.dark')} onClick={toggle} />
      <LinkButton href={`${basename}/workspaces`} icon="layer-group" size="sm" fill="text" variant="secondary" tooltip={t('nav.workspaces')} aria-label={t('nav.workspaces')} />
      {session?.user.administrator && (
        <LinkButton href={`${basename}/people`} icon="users-alt" size="sm" fill="text" variant="secondary" tooltip={t('nav.people')} aria-label={t('nav.people')} />
      )}
      {session?.user.administrator && (
        <LinkButton href={`${basename}/admin`} icon="cog" size="sm" fill="text" variant="secondary" tooltip={t('nav.admin')} aria-label={t('nav.admin')} />
      )}
      {session && (
        <LinkButton href={`${basename}/account`} icon="user" size="sm" fill="text" variant="secondary" tooltip={t('nav.account')} aria-label={t('nav.account')} />
      )}
      {session && (
        <IconButton
          name="signout"
          size="lg"
          tooltip={`${t('nav.signout')} (${session.user.login})`}
          onClick={() => void logout().finally(session.onSignedOut)}
        />
      )}
    </div>
  );
}

/** Tower is the project's mark: a watchtower. */
export function Tower({ size = 22 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 24 24" fill="none" aria-hidden="true">
      <path d="M4 8 L12 2.5 L20 8 Z" fill="#FF8833" />
      <rect x="6" y="9" width="12" height="4" rx="0.6" fill="#F5B73D" />
      <path d="M8 13.5 L6 22 M16 13.5 L18 22 M7.4 16.5 L17 20.5 M16.6 16.5 L7 20.5" stroke="#FF8833" strokeWidth="1.5" strokeLinecap="round" />
    </svg>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  page: css({ display: 'flex', flexDirection: 'column', height: '100vh', background: theme.colors.background.canvas, color: theme.colors.text.primary }),
  skip: css({
    position: 'absolute', left: -9999, zIndex: theme.zIndex.tooltip, background: theme.colors.background.primary, padding: theme.spacing(1),
    '&:focus': { left: theme.spacing(1), top: theme.spacing(1) },
  }),
  top: css({
    display: 'flex', flexWrap: 'wrap', alignItems: 'center', gap: theme.spacing(1), padding: theme.spacing(0.5, 2), minHeight: 44,
    background: theme.colors.background.primary, borderBottom: `1px solid ${theme.colors.border.weak}`,
  }),
  brand: css({
    display: 'flex', alignItems: 'center', gap: theme.spacing(1), fontWeight: theme.typography.fontWeightMedium, color: theme.colors.text.primary,
    width: 148, '&:hover': { textDecoration: 'none' },
    [theme.breakpoints.down('md')]: { width: 'auto', '& > span': { display: 'none' } },
  }),
  crumbs: css({
    flex: 1, minWidth: 0,
    '& ol': { display: 'flex', listStyle: 'none', margin: 0, padding: 0 },
    '& li': { display: 'flex', alignItems: 'center', whiteSpace: 'nowrap' },
    '& li:last-child': { flex: 1, minWidth: 0 },
    [theme.breakpoints.down('lg')]: { '& li:not(:last-child)': { display: 'none' }, '& li:last-child > svg, & li:last-child > div': { display: 'none' } },
    '& [aria-current]': { overflow: 'hidden', textOverflow: 'ellipsis' },
    '& a': { color: theme.colors.text.secondary }, '& svg': { margin: theme.spacing(0, 0.5), color: theme.colors.text.secondary },
  }),
  tools: css({ display: 'flex', alignItems: 'center', gap: theme.spacing(1) }),
  language: css({ background: 'none', border: 'none', color: theme.colors.text.secondary, '&:hover': { color: theme.colors.text.primary } }),
  below: css({ display: 'flex', flex: 1, minHeight: 0, [theme.breakpoints.down('md')]: { flexDirection: 'column' } }),
  side: css({
    display: 'flex', flexDirection: 'column', gap: 2, width: 164, padding: theme.spacing(1), background: theme.colors.background.primary,
    borderRight: `1px solid ${theme.colors.border.weak}`,
    [theme.breakpoints.down('md')]: { flexDirection: 'row', flexWrap: 'wrap', width: '100%', borderRight: 'none', borderBottom: `1px solid ${theme.colors.border.weak}` },
  }),
  entry: css({
    display: 'flex', alignItems: 'center', gap: theme.spacing(1), padding: theme.spacing(0.75, 1), borderRadius: theme.shape.radius.default,
    color: theme.colors.text.secondary, '&:hover': { background: theme.colors.action.hover, color: theme.colors.text.primary, textDecoration: 'none' },
  }),
  active: css({
    background: theme.colors.action.selected, color: theme.colors.text.primary, boxShadow: `inset 3px 0 0 ${theme.colors.warning.main}`,
  }),
  main: css({ flex: 1, minWidth: 0, overflow: 'auto', scrollbarGutter: 'stable', outline: 'none' }),
});
