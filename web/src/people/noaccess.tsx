/** For people who are signed in and have no role in the workspace of this address. */
import { LinkButton, LoadingPlaceholder } from '../ui';
import { useLoad } from '../ui/hooks';
import { fetchMe, fetchMyWorkspaces } from './api';
import { Frame } from './frame';
import { useTexts } from './messages';

export default function NoAccessPage() {
  const { t, problem } = useTexts();
  const mine = useLoad('mine', async () => ({ me: await fetchMe(), list: await fetchMyWorkspaces() }));
  return (
    <Frame title={t('noAccess')}>
      {mine.error && <p role="alert">{problem(mine.error)}</p>}
      {mine.value === null && !mine.error && <LoadingPlaceholder text={t('working')} />}
      {mine.value && <p>{t(mine.value.list.length === 0 ? 'noneMine' : 'noAccessHint')}</p>}
      <ul>
        {mine.value?.list.map((w) => (
          <li key={w.id}>
            <a href={w.default ? '/' : `/w/${w.id}/`}>{w.name || w.id}</a> ({w.role})
          </li>
        ))}
      </ul>
      {mine.value?.me.administrator && <LinkButton href="/workspaces">{t('workspaces')}</LinkButton>}
    </Frame>
  );
}
