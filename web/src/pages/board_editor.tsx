/** The drawer in which a board is edited: its panels, settings, JSON and versions. The board behind it shows every change at once. */
import { css } from '@emotion/css';
import type { GrafanaTheme2, TimeRange } from '@grafana/data';
import { lazy, Suspense, useState, type ReactNode } from 'react';
import { defaultSource, type DataSource } from '../board/datasource';
import { diffVersions, fetchVersions, restoreVersion, type Change } from '../data/boards_api';
import { Alert, Button, Drawer, EmptyState, IconButton, InlineField, Input, LoadingPlaceholder, Select, Tab, TabContent, TabsBar, TextArea, useStyles2, useT } from '../ui';
import { useLoad } from '../ui/hooks';
import { addPanel, changePanel, duplicatePanel, gridOf, listPanels, placePanel, removePanel, type Json } from './board_json';

const Editor = lazy(() => import('./promql_editor'));

interface Props {
  uid: string;
  draft: Json;
  sources: readonly DataSource[];
  range: TimeRange;
  onChange: (board: Json) => void;
  onRestored: () => void;
  onClose: () => void;
}

type TabName = 'panels' | 'settings' | 'json' | 'versions';

export default function BoardEditor({ uid, draft, sources, range, onChange, onRestored, onClose }: Props) {
  const t = useT();
  const [tab, setTab] = useState<TabName>('panels');
  const tabs: [TabName, string][] = [['panels', t('edit.panels')], ['settings', t('edit.settings')], ['json', t('edit.json')]];
  if (uid !== '') {
    tabs.push(['versions', t('edit.versions')]);
  }
  return (
    <Drawer title={t('edit.title')} onClose={onClose} size="md">
      <TabsBar>
        {tabs.map(([name, label]) => (
          <Tab key={name} label={label} active={tab === name} onChangeTab={() => setTab(name)} />
        ))}
      </TabsBar>
      <TabContent style={{ paddingTop: 16 }}>
        {tab === 'panels' && <PanelsTab draft={draft} sources={sources} range={range} onChange={onChange} />}
        {tab === 'settings' && <SettingsTab draft={draft} onChange={onChange} />}
        {tab === 'json' && <JsonTab draft={draft} onChange={onChange} />}
        {tab === 'versions' && <VersionsTab uid={uid} onRestored={onRestored} />}
      </TabContent>
    </Drawer>
  );
}

function PanelsTab({ draft, sources, range, onChange }: Pick<Props, 'draft' | 'sources' | 'range' | 'onChange'>) {
  const t = useT();
  const styles = useStyles2(getStyles);
  const [open, setOpen] = useState<number | null>(null);
  const panels = listPanels(draft);
  const add = () => {
    const next = addPanel(draft, t('edit.newPanel'));
    onChange(next.board);
    setOpen(next.id);
  };
  return (
    <>
      <Button icon="plus" onClick={add}>
        {t('edit.addPanel')}
      </Button>
      {panels.length === 0 && <EmptyState variant="not-found" hideImage message={t('board.emptyBoard')} />}
      <ul className={styles.list}>
        {panels.map((p) => {
          const id = Number(p.id);
          const title = String(p.title || t('edit.untitled'));
          return (
            <li key={id}>
              <div className={styles.line}>
                <button type="button" className={styles.name} aria-expanded={open === id} onClick={() => setOpen(open === id ? null : id)}>
                  {title} <small>{String(p.type)}</small>
                </button>
                <IconButton
                  name="copy"
                  tooltip={`${t('edit.duplicate')}: ${title}`}
                  onClick={() => {
                    const next = duplicatePanel(draft, id);
                    onChange(next.board);
                    setOpen(next.id);
                  }}
                />
                <IconButton name="trash-alt" tooltip={`${t('edit.delete')}: ${title}`} onClick={() => onChange(removePanel(draft, id))} />
              </div>
              {open === id && <PanelForm draft={draft} panel={p} sources={sources} range={range} onChange={onChange} />}
            </li>
          );
        })}
      </ul>
    </>
  );
}

const TYPES = ['timeseries', 'stat', 'gauge', 'bargauge', 'table', 'piechart', 'heatmap', 'barchart', 'histogram', 'state-timeline', 'status-history', 'text'];
const UNITS = ['short', 'none', 'percentunit', 'percent', 'bytes', 'decbytes', 'Bps', 'bps', 's', 'ms', 'reqps', 'ops', 'pps', 'iops', 'hertz', 'dateTimeAsIso'];

function asObject(v: unknown): Json {
  return typeof v === 'object' && v !== null && !Array.isArray(v) ? (v as Json) : {};
}

function targetsOf(panel: Json): Json[] {
  return Array.isArray(panel.targets) ? panel.targets.map(asObject) : [];
}

function PanelForm({ draft, panel, sources, range, onChange }: Pick<Props, 'draft' | 'sources' | 'range' | 'onChange'> & { panel: Json }) {
  const t = useT();
  const styles = useStyles2(getStyles);
  const id = Number(panel.id);
  const set = (change: Json) => onChange(changePanel(draft, id, (p) => ({ ...p, ...change })));
  const field = asObject(panel.fieldConfig);
  const defaults = asObject(field.defaults);
  const at = gridOf(panel);
  const unit = String(defaults.unit ?? '');
  return (
    <div className={styles.form}>
      <InlineField label={t('edit.name')} labelWidth={14} grow>
        <Input value={String(panel.title ?? '')} onChange={(e) => set({ title: e.currentTarget.value })} />
      </InlineField>
      <InlineField label={t('edit.description')} labelWidth={14} grow>
        <Input value={String(panel.description ?? '')} onChange={(e) => set({ description: e.currentTarget.value })} />
      </InlineField>
      <InlineField label={t('edit.type')} labelWidth={14}>
        <Select aria-label={t('edit.type')} width={28} options={TYPES.map((v) => ({ value: v, label: v }))} value={String(panel.type)} onChange={(v) => set({ type: v.value })} />
      </InlineField>
      <InlineField label={t('edit.unit')} labelWidth={14}>
        <Select
          aria-label={t('edit.unit')} width={28} allowCustomValue isClearable options={[...new Set([...UNITS, unit])].filter((v) => v !== '').map((v) => ({ value: v, label: v }))}
          value={unit || null} onChange={(v) => set({ fieldConfig: { overrides: [], ...field, defaults: { ...defaults, unit: v?.value } } })}
        />
      </InlineField>
      <div className={styles.line}>
        {(['x', 'y', 'w', 'h'] as const).map((k) => (
          <InlineField key={k} label={t(`edit.grid.${k}`)} labelWidth={9}>
            <Input type="number" width={9} value={at[k]} onChange={(e) => onChange(placePanel(draft, id, { [k]: Number(e.currentTarget.value) }))} />
          </InlineField>
        ))}
      </div>
      {panel.type === 'text' ? (
        <TextArea
          rows={8} aria-label={t('edit.text')} value={String(asObject(panel.options).content ?? '')}
          onChange={(e) => set({ options: { mode: 'markdown', ...asObject(panel.options), content: e.currentTarget.value } })}
        />
      ) : (
        <Queries panel={panel} sources={sources} range={range} onChange={(targets) => set({ targets })} />
      )}
    </div>
  );
}

function Queries({ panel, sources, range, onChange }: { panel: Json; sources: readonly DataSource[]; range: TimeRange; onChange: (targets: Json[]) => void }) {
  const t = useT();
  const styles = useStyles2(getStyles);
  const targets = targetsOf(panel);
  const set = (i: number, change: Json) => onChange(targets.map((x, j) => (i === j ? { ...x, ...change } : x)));
  const sourceUid = (sources.find((s) => s.uid === asObject(panel.datasource).uid) ?? defaultSource(sources))?.uid ?? '';
  const free = () => [...'ABCDEFGHIJKLMNOPQRSTUVWXYZ'].find((r) => !targets.some((x) => x.refId === r)) ?? `Q${targets.length}`;
  return (
    <>
      {targets.map((q, i) => (
        <fieldset key={String(q.refId ?? i)} className={styles.query}>
          <legend>{String(q.refId ?? '')}</legend>
          <Suspense fallback={<LoadingPlaceholder text={t('common.loading')} />}>
            <Editor
              value={String(q.expr ?? '')} onChange={(expr) => set(i, { expr })} onRun={(expr) => set(i, { expr })} label={`${t('explore.query')} ${String(q.refId ?? '')}`}
              sourceUid={sourceUid} range={range}
            />
          </Suspense>
          <div className={styles.line}>
            <InlineField label={t('edit.legend')} labelWidth={10} grow>
              <Input value={String(q.legendFormat ?? '')} placeholder="{{label}}" onChange={(e) => set(i, { legendFormat: e.currentTarget.value })} />
            </InlineField>
            <IconButton name={q.hide ? 'eye-slash' : 'eye'} tooltip={t('edit.hideQuery')} onClick={() => set(i, { hide: !q.hide })} />
            <IconButton name="trash-alt" tooltip={`${t('edit.delete')}: ${String(q.refId ?? '')}`} onClick={() => onChange(targets.filter((_, j) => j !== i))} />
          </div>
        </fieldset>
      ))}
      <Button variant="secondary" icon="plus" onClick={() => onChange([...targets, { refId: free(), expr: '', range: true }])}>
        {t('edit.addQuery')}
      </Button>
    </>
  );
}

function SettingsTab({ draft, onChange }: Pick<Props, 'draft' | 'onChange'>) {
  const t = useT();
  const set = (change: Json) => onChange({ ...draft, ...change });
  const tags = Array.isArray(draft.tags) ? draft.tags.map(String) : [];
  const time = asObject(draft.time);
  const line = (label: string, input: ReactNode) => (
    <InlineField label={label} labelWidth={18} grow>
      <>{input}</>
    </InlineField>
  );
  return (
    <>
      {line(t('edit.name'), <Input aria-label={t('edit.name')} value={String(draft.title ?? '')} onChange={(e) => set({ title: e.currentTarget.value })} />)}
      {line(t('edit.description'), <Input aria-label={t('edit.description')} value={String(draft.description ?? '')} onChange={(e) => set({ description: e.currentTarget.value })} />)}
      {line(t('edit.tags'), <Input aria-label={t('edit.tags')} defaultValue={tags.join(', ')} onBlur={(e) => set({ tags: e.currentTarget.value.split(',').map((x) => x.trim()).filter((x) => x !== '') })} />)}
      {line(t('edit.from'), <Input aria-label={t('edit.from')} value={String(time.from ?? '')} onChange={(e) => set({ time: { ...time, from: e.currentTarget.value } })} />)}
      {line(t('edit.to'), <Input aria-label={t('edit.to')} value={String(time.to ?? '')} onChange={(e) => set({ time: { ...time, to: e.currentTarget.value } })} />)}
      {line(t('edit.refresh'), <Input aria-label={t('edit.refresh')} value={String(draft.refresh ?? '')} placeholder="30s" onChange={(e) => set({ refresh: e.currentTarget.value })} />)}
    </>
  );
}

function JsonTab({ draft, onChange }: Pick<Props, 'draft' | 'onChange'>) {
  const t = useT();
  const [text, setText] = useState(() => JSON.stringify(draft, null, 2));
  const [problem, setProblem] = useState('');
  const apply = () => {
    try {
      const parsed: unknown = JSON.parse(text);
      if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
        throw new Error(t('edit.notObject'));
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
      <TextArea rows={28} spellCheck={false} aria-label={t('edit.json')} value={text} onChange={(e) => setText(e.currentTarget.value)} />
      <Button style={{ marginTop: 8 }} onClick={apply}>
        {t('edit.apply')}
      </Button>
    </>
  );
}

function VersionsTab({ uid, onRestored }: { uid: string; onRestored: () => void }) {
  const t = useT();
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
                  {t('edit.diff')}
                </Button>
              )}
              {i > 0 && (
                <Button size="sm" variant="secondary" onClick={() => attempt(restoreVersion(uid, v.version).then(onRestored))}>
                  {t('edit.restore')}
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

function DiffList({ changes }: { changes: Change[] }) {
  const t = useT();
  const styles = useStyles2(getStyles);
  if (changes.length === 0) {
    return <p>{t('edit.noChanges')}</p>;
  }
  const text = (v: unknown) => (v === undefined ? '' : JSON.stringify(v).slice(0, 400));
  return (
    <ul className={styles.diff}>
      {changes.map((c) => (
        <li key={c.path}>
          <code>{c.path}</code>
          {c.old !== undefined && <del>{text(c.old)}</del>}
          {c.new !== undefined && <ins>{text(c.new)}</ins>}
        </li>
      ))}
    </ul>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  list: css({ listStyle: 'none', marginTop: theme.spacing(2), '& > li': { borderBottom: `1px solid ${theme.colors.border.weak}`, padding: theme.spacing(1, 0) } }),
  line: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(1), alignItems: 'center' }),
  name: css({ flex: 1, minWidth: 200, background: 'none', border: 'none', textAlign: 'left', color: theme.colors.text.primary, '& small, & em': { color: theme.colors.text.secondary } }),
  form: css({ padding: theme.spacing(1, 0, 2) }),
  query: css({ border: `1px solid ${theme.colors.border.weak}`, borderRadius: theme.shape.radius.default, padding: theme.spacing(1), margin: theme.spacing(1, 0), '& legend': { fontSize: theme.typography.body.fontSize, margin: 0, width: 'auto' } }),
  diff: css({ listStyle: 'none', '& del': { display: 'block', color: theme.colors.error.text, wordBreak: 'break-all' }, '& ins': { display: 'block', color: theme.colors.success.text, textDecoration: 'none', wordBreak: 'break-all' } }),
});
