/** The drawer of a board's settings: general, variables, annotations, links, JSON, versions. The board behind it shows every change at once. */
import { css } from '@emotion/css';
import type { GrafanaTheme2 } from '@grafana/data';
import { useState, type ReactNode } from 'react';
import { diffVersions, fetchVersions, restoreVersion, type Change } from '../data/boards_api';
import { Alert, Button, Drawer, InlineField, Input, LoadingPlaceholder, Select, Tab, TabContent, TabsBar, TextArea, useStyles2, useT } from '../ui';
import { useLoad } from '../ui/hooks';
import type { OnScreen } from './board_edit_tools';
import { asObject, type Json } from './board_json';
import { AnnotationsTab, LinksTab, VariablesTab } from './board_lists';
import { useEditTexts } from './edit_texts';
import { DiffList } from './save_dialog';

interface Props {
  uid: string;
  draft: Json;
  screen: OnScreen;
  onChange: (board: Json) => void;
  onRestored: () => void;
  onClose: () => void;
}

type TabName = 'general' | 'variables' | 'annotations' | 'links' | 'json' | 'versions';

export default function BoardSettings({ uid, draft, screen, onChange, onRestored, onClose }: Props) {
  const x = useEditTexts();
  const [tab, setTab] = useState<TabName>('general');
  const tabs: TabName[] = ['general', 'variables', 'annotations', 'links', 'json', ...(uid === '' ? [] : (['versions'] as const))];
  return (
    <Drawer title={x('settings')} onClose={onClose} size="md">
      <TabsBar>
        {tabs.map((name) => (
          <Tab key={name} label={x(name)} active={tab === name} onChangeTab={() => setTab(name)} />
        ))}
      </TabsBar>
      <TabContent style={{ paddingTop: 16 }}>
        {tab === 'general' && <GeneralTab draft={draft} onChange={onChange} />}
        {tab === 'variables' && <VariablesTab draft={draft} screen={screen} onChange={onChange} />}
        {tab === 'annotations' && <AnnotationsTab draft={draft} screen={screen} onChange={onChange} />}
        {tab === 'links' && <LinksTab draft={draft} screen={screen} onChange={onChange} />}
        {tab === 'json' && <JsonTab draft={draft} onChange={onChange} />}
        {tab === 'versions' && <VersionsTab uid={uid} onRestored={onRestored} />}
      </TabContent>
    </Drawer>
  );
}

function GeneralTab({ draft, onChange }: Pick<Props, 'draft' | 'onChange'>) {
  const t = useT();
  const x = useEditTexts();
  const set = (change: Json) => onChange({ ...draft, ...change });
  const tags = Array.isArray(draft.tags) ? draft.tags.map(String) : [];
  const time = asObject(draft.time);
  const line = (label: string, input: ReactNode) => (
    <InlineField label={label} labelWidth={20} grow>
      <>{input}</>
    </InlineField>
  );
  const text = (label: string, value: unknown, change: (v: string) => void, placeholder = '') =>
    line(label, <Input aria-label={label} value={String(value ?? '')} placeholder={placeholder} onChange={(e) => change(e.currentTarget.value)} />);
  const pick = (label: string, value: string, options: [string, string][], change: (v: string) => void) =>
    line(label, <Select aria-label={label} value={value} options={options.map(([v, l]) => ({ value: v, label: l }))} allowCustomValue={label === x('timezone')} onChange={(v) => change(v.value ?? '')} />);
  return (
    <>
      {text(t('edit.name'), draft.title, (title) => set({ title }))}
      {text(x('description'), draft.description, (description) => set({ description }))}
      {line(x('tags'), <Input aria-label={x('tags')} defaultValue={tags.join(', ')} onBlur={(e) => set({ tags: e.currentTarget.value.split(',').map((s) => s.trim()).filter((s) => s !== '') })} />)}
      {text(x('from'), time.from, (from) => set({ time: { ...time, from } }), 'now-6h')}
      {text(x('to'), time.to, (to) => set({ time: { ...time, to } }), 'now')}
      {text(x('refresh'), draft.refresh, (refresh) => set({ refresh }), '30s')}
      {pick(x('timezone'), String(draft.timezone ?? ''), [['', x('zoneDefault')], ['browser', x('zoneBrowser')], ['utc', 'UTC'], ['Asia/Seoul', 'Asia/Seoul']], (timezone) => set({ timezone }))}
      {pick(x('crosshair'), String(draft.graphTooltip ?? 0), [['0', x('crosshairOff')], ['1', x('crosshairOn')], ['2', x('crosshairTooltip')]], (v) => set({ graphTooltip: Number(v) }))}
    </>
  );
}

function JsonTab({ draft, onChange }: Pick<Props, 'draft' | 'onChange'>) {
  const x = useEditTexts();
  const [text, setText] = useState(() => JSON.stringify(draft, null, 2));
  const [problem, setProblem] = useState('');
  const apply = () => {
    try {
      const parsed: unknown = JSON.parse(text);
      if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
        throw new Error(x('notObject'));
      }
      onChange(parsed as Json);
      setProblem('');
    } catch (err) {
      setProblem(err instanceof Error ? err.message : String(err));
    }
  };
  return (
    <>
      {problem !== '' && <Alert severity="error" title={problem} />}
      <TextArea rows={28} spellCheck={false} aria-label={x('json')} value={text} onChange={(e) => setText(e.currentTarget.value)} />
      <Button style={{ marginTop: 8 }} onClick={apply}>
        {x('apply')}
      </Button>
    </>
  );
}

function VersionsTab({ uid, onRestored }: { uid: string; onRestored: () => void }) {
  const t = useT();
  const x = useEditTexts();
  const styles = useStyles2(getStyles);
  const versions = useLoad(`versions-${uid}`, (signal) => fetchVersions(uid, signal));
  const [diff, setDiff] = useState<{ version: number; changes: Change[] } | null>(null);
  const [problem, setProblem] = useState('');
  const attempt = (work: Promise<unknown>) => void work.catch((err: unknown) => setProblem(err instanceof Error ? err.message : String(err)));
  if (!versions.value) {
    return versions.error ? <Alert severity="error" title={versions.error.message} buttonContent={t('common.retry')} onRemove={versions.reload} /> : <LoadingPlaceholder text={t('common.loading')} />;
  }
  return (
    <>
      {problem !== '' && <Alert severity="error" title={problem} />}
      <ul className={styles.list}>
        {versions.value.map((v, i) => (
          <li key={v.version}>
            <div className={styles.line}>
              <span className={styles.name}>
                {v.version} · {new Date(v.created).toLocaleString()} · {v.createdBy} {v.message !== '' && <em>{v.message}</em>}
              </span>
              {v.version > 1 && (
                <Button size="sm" variant="secondary" onClick={() => attempt(diffVersions(uid, v.version - 1, v.version).then((changes) => setDiff({ version: v.version, changes })))}>
                  {x('diff')}
                </Button>
              )}
              {i > 0 && (
                <Button size="sm" variant="secondary" onClick={() => attempt(restoreVersion(uid, v.version).then(onRestored))}>
                  {x('restore')}
                </Button>
              )}
            </div>
            {diff?.version === v.version && <DiffList changes={diff.changes} />}
          </li>
        ))}
      </ul>
    </>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  list: css({ listStyle: 'none', marginTop: theme.spacing(2), '& > li': { borderBottom: `1px solid ${theme.colors.border.weak}`, padding: theme.spacing(1, 0) } }),
  line: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(1), alignItems: 'center' }),
  name: css({ flex: 1, minWidth: 200, '& em': { color: theme.colors.text.secondary } }),
});
