/** One panel being edited: what it draws, its queries and transformations below, its options with a search beside. Every change is drawn at once. */
import { css } from '@emotion/css';
import type { GrafanaTheme2 } from '@grafana/data';
import { lazy, Suspense, useState } from 'react';
import { defaultSource } from '../board/datasource';
import type { PlacedSection } from '../board/layout';
import { BoardGrid } from '../panels/grid';
import { Alert, Button, EmptyState, FilterInput, IconButton, InlineField, Input, LoadingPlaceholder, RadioButtonGroup, Select, Tab, TabsBar, useLanguage, useStyles2, useT } from '../ui';
import type { OnScreen } from './board_edit_tools';
import { asObject, asObjects, changePanel, listPanels, type Json } from './board_json';
import { useEditTexts } from './edit_texts';
import { FieldLists } from './panel_fields';
import { OptionInput } from './option_input';
import { optionsFor, PANEL_TYPES, readOption, writeOption } from './panel_options';
import { Transformations } from './transformations';

const Editor = lazy(() => import('./promql_editor'));

interface Props {
  panelId: number;
  board: Json;
  sections: PlacedSection[];
  screen: OnScreen;
  problem: string;
  onChange: (board: Json) => void;
  onClose: () => void;
}

export default function PanelEditor({ panelId, board, sections, screen, problem, onChange, onClose }: Props) {
  const t = useT();
  const x = useEditTexts();
  const styles = useStyles2(getStyles);
  const [tab, setTab] = useState<'queries' | 'transformations'>('queries');
  const panel = listPanels(board).find((p) => p.id === panelId);
  const set = (change: (p: Json) => Json) => onChange(changePanel(board, panelId, change));
  if (!panel) {
    return (
      <EmptyState variant="not-found" hideImage message={x('noPanel')}>
        <Button onClick={onClose}>{t('board.backToBoard')}</Button>
      </EmptyState>
    );
  }
  return (
    <div className={styles.page} data-testid="panel-editor">
      <div className={styles.left}>
        <div className={styles.preview}>
          <BoardGrid sections={sections} viewing={panelId} />
        </div>
        {problem !== '' && <Alert severity="error" title={problem} />}
        {panel.type !== 'text' && (
          <>
            <TabsBar>
              <Tab label={`${x('queries')} (${asObjects(panel.targets).length})`} active={tab === 'queries'} onChangeTab={() => setTab('queries')} />
              <Tab label={`${x('transformations')} (${asObjects(panel.transformations).length})`} active={tab === 'transformations'} onChangeTab={() => setTab('transformations')} />
            </TabsBar>
            <div className={styles.below}>
              {tab === 'queries' && <Queries panel={panel} screen={screen} onChange={(change) => set((p) => ({ ...p, ...change }))} />}
              {tab === 'transformations' && <Transformations list={asObjects(panel.transformations)} onChange={(transformations) => set((p) => ({ ...p, transformations }))} />}
            </div>
          </>
        )}
      </div>
      <Options panel={panel} set={set} onClose={onClose} />
    </div>
  );
}

function Options({ panel, set, onClose }: { panel: Json; set: (change: (p: Json) => Json) => void; onClose: () => void }) {
  const t = useT();
  const x = useEditTexts();
  const { language } = useLanguage();
  const styles = useStyles2(getStyles);
  const [text, setText] = useState('');
  const found = optionsFor(String(panel.type), text);
  const at = language === 'ko' ? 1 : 0;
  const groups = [...new Set(found.map((o) => o.group))];
  return (
    <aside className={styles.options} aria-label={x('options')}>
      <Button icon="arrow-left" onClick={onClose}>
        {t('board.backToBoard')}
      </Button>
      <Select aria-label={x('type')} options={[...new Set([...PANEL_TYPES, String(panel.type)])].map((v) => ({ value: v, label: v }))} value={String(panel.type)} onChange={(v) => set((p) => ({ ...p, type: v.value }))} />
      <FilterInput value={text} onChange={setText} placeholder={x('searchOptions')} aria-label={x('searchOptions')} />
      {groups.map((g) => (
        <details key={g[0]} open className={styles.group}>
          <summary>
            {g[at]}
          </summary>
          {found.filter((o) => o.group === g).map((o) => (
            <OptionInput key={o.path} option={o} value={readOption(panel, o.path)} onChange={(v) => set((p) => writeOption(p, o.path, v))} />
          ))}
        </details>
      ))}
      {text === '' && panel.type !== 'text' && <FieldLists panel={panel} set={set} />}
      {text !== '' && found.length === 0 && <p>{x('noOption')}</p>}
    </aside>
  );
}

function Queries({ panel, screen, onChange }: { panel: Json; screen: OnScreen; onChange: (change: Json) => void }) {
  const t = useT();
  const x = useEditTexts();
  const styles = useStyles2(getStyles);
  const targets = asObjects(panel.targets);
  const { sources } = screen;
  const set = (i: number, change: Json) => onChange({ targets: targets.map((q, j) => (i === j ? { ...q, ...change } : q)) });
  const own = typeof panel.datasource === 'string' ? panel.datasource : String(asObject(panel.datasource).uid ?? '');
  const sourceUid = (sources.find((s) => s.uid === own) ?? defaultSource(sources))?.uid ?? '';
  const free = () => [...'ABCDEFGHIJKLMNOPQRSTUVWXYZ'].find((r) => !targets.some((q) => q.refId === r)) ?? `Q${targets.length}`;
  const move = (i: number, by: number) => {
    const next = [...targets];
    next.splice(i + by, 0, ...next.splice(i, 1));
    onChange({ targets: next });
  };
  const chooseSource = (uid: string | undefined) => {
    const datasource = { type: sources.find((s) => s.uid === uid)?.type ?? 'prometheus', uid };
    onChange({ datasource, targets: targets.map((q) => ({ ...q, datasource })) });
  };
  return (
    <>
      <InlineField label={x('source')} labelWidth={16}>
        <Select
          aria-label={x('source')} width={40} value={own === '' ? sourceUid : own} onChange={(v) => chooseSource(v.value)}
          options={[...sources.map((s) => ({ value: s.uid, label: s.name })), ...(own === '' || sources.some((s) => s.uid === own) ? [] : [{ value: own, label: own }])]}
        />
      </InlineField>
      {targets.map((q, i) => (
        <fieldset key={String(q.refId ?? i)} className={styles.query}>
          <legend>{String(q.refId ?? '')}</legend>
          <Suspense fallback={<LoadingPlaceholder text={t('common.loading')} />}>
            <Editor value={String(q.expr ?? '')} onChange={(expr) => set(i, { expr })} onRun={(expr) => set(i, { expr })} label={`${t('explore.query')} ${String(q.refId ?? '')}`} sourceUid={sourceUid} range={screen.range} />
          </Suspense>
          <div className={styles.line}>
            <InlineField label={x('legend')} labelWidth={10}>
              <Input width={24} aria-label={`${x('legend')} ${String(q.refId)}`} value={String(q.legendFormat ?? '')} placeholder="{{label}}" onChange={(e) => set(i, { legendFormat: e.currentTarget.value })} />
            </InlineField>
            <RadioButtonGroup
              size="sm" aria-label={x('queryType')} value={q.instant === true ? (q.range === true ? 'both' : 'instant') : 'range'} onChange={(v) => set(i, { instant: v !== 'range', range: v !== 'instant' })}
              options={[{ value: 'range', label: t('explore.range') }, { value: 'instant', label: t('explore.instant') }, { value: 'both', label: t('explore.both') }]}
            />
            <Select aria-label={x('format')} width={18} value={String(q.format ?? 'time_series')} options={[['time_series', x('formatSeries')], ['table', x('formatTable')], ['heatmap', x('formatHeatmap')]].map(([value, label]) => ({ value, label }))} onChange={(v) => set(i, { format: v.value })} />
            <InlineField label={x('step')} labelWidth={10}>
              <Input width={10} value={String(q.interval ?? '')} placeholder="15s" onChange={(e) => set(i, { interval: e.currentTarget.value })} />
            </InlineField>
            <IconButton name="arrow-up" tooltip={`${x('up')}: ${String(q.refId)}`} disabled={i === 0} onClick={() => move(i, -1)} />
            <IconButton name="arrow-down" tooltip={`${x('down')}: ${String(q.refId)}`} disabled={i === targets.length - 1} onClick={() => move(i, 1)} />
            <IconButton name={q.hide ? 'eye-slash' : 'eye'} tooltip={x('hideQuery')} onClick={() => set(i, { hide: !q.hide })} />
            <IconButton name="copy" tooltip={`${t('edit.duplicate')}: ${String(q.refId)}`} onClick={() => onChange({ targets: [...targets, { ...structuredClone(q), refId: free() }] })} />
            <IconButton name="trash-alt" tooltip={`${t('edit.delete')}: ${String(q.refId ?? '')}`} onClick={() => onChange({ targets: targets.filter((_, j) => j !== i) })} />
          </div>
        </fieldset>
      ))}
      <Button variant="secondary" icon="plus" onClick={() => onChange({ targets: [...targets, { refId: free(), expr: '', range: true, datasource: panel.datasource }] })}>
        {x('addQuery')}
      </Button>
    </>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  page: css({ display: 'flex', gap: theme.spacing(2), alignItems: 'flex-start', [theme.breakpoints.down('lg')]: { flexDirection: 'column', alignItems: 'stretch' } }),
  left: css({ flex: 1, minWidth: 0, display: 'flex', flexDirection: 'column', gap: theme.spacing(1) }),
  preview: css({ position: 'relative', height: '42vh', minHeight: 260, display: 'flex', flexDirection: 'column' }),
  below: css({ padding: theme.spacing(1, 0) }),
  options: css({
    width: 380, '& *': { boxSizing: 'border-box' }, display: 'flex', flexDirection: 'column', gap: theme.spacing(1), padding: theme.spacing(1.5), background: theme.colors.background.primary, border: `1px solid ${theme.colors.border.weak}`,
    borderRadius: theme.shape.radius.default, maxHeight: 'calc(100vh - 110px)', overflowY: 'auto', [theme.breakpoints.down('lg')]: { width: '100%', maxHeight: 'none' },
  }),
  group: css({ borderTop: `1px solid ${theme.colors.border.weak}`, paddingTop: theme.spacing(1), '& > summary': { cursor: 'pointer', fontWeight: theme.typography.fontWeightMedium, marginBottom: theme.spacing(1) } }),
  query: css({ border: `1px solid ${theme.colors.border.weak}`, borderRadius: theme.shape.radius.default, padding: theme.spacing(1), margin: theme.spacing(1, 0), '& legend': { fontSize: theme.typography.body.fontSize, margin: 0, width: 'auto' } }),
  line: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(1), alignItems: 'center', marginTop: theme.spacing(1), '& > div': { marginBottom: 0 } }),
});
