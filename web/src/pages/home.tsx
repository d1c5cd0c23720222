/** Home: what is watched, whether it is up, where to write and query, and which boards there are. */
import { css } from '@emotion/css';
import type { GrafanaTheme2 } from '@grafana/data';
import { useEffect, useState, type ReactNode } from 'react';
import { Link } from 'react-router';
import { fetchDataSources, fetchOverview, searchBoards, type Overview, type Workspace } from '../data/api';
import { parseValue } from '../data/frames';
import { PrometheusApi, type QueryData } from '../data/prometheus';
import { defaultSource } from '../board/datasource';
import { Alert, Badge, ClipboardButton, Icon, LoadingPlaceholder, TagList, useStyles2, useT } from '../ui';
import { useLoad } from '../ui/hooks';
import { useHomeTexts, type HomeKey } from './home_texts';
import { Shell } from './shell';

const REFRESH_MS = 15_000;

interface Glance {
  up: number;
  down: { job: string; instance: string }[];
  jobs: { job: string; up: number; total: number }[];
  series: number | null;
  rate: number | null;
}

export default function HomePage() {
  const t = useT();
  const overview = useLoad('overview', fetchOverview);
  return (
    <Shell crumbs={[{ text: t('nav.home') }]}>
      {overview.error && (
        <Alert severity="error" title={t('common.error')} onRemove={overview.reload} buttonContent={t('common.retry')}>
          {overview.error.message}
        </Alert>
      )}
      {!overview.value && overview.loading && <LoadingPlaceholder text={t('common.loading')} />}
      {overview.value && <HomeBody overview={overview.value} />}
    </Shell>
  );
}

/** What the heading says of each kind of thing the collector may watch. */
const WATCHING: Record<Overview['source']['kind'], HomeKey> = {
  cluster: 'watchingCluster',
  machine: 'watchingMachine',
  config: 'watchingConfig',
};

function HomeBody({ overview }: { overview: Overview }) {
  const h = useHomeTexts();
  const styles = useStyles2(getStyles);
  const { source } = overview;
  const workspace = overview.workspaces[0];
  return (
    <div className={styles.page}>
      <h1 className={styles.title}>{h(WATCHING[source.kind], { name: source.name })}</h1>
      {source.detail !== '' && <p className={styles.detail}>{source.detail}</p>}
      <GlanceSection />
      <div className={styles.columns}>
        <BoardsCard />
        {overview.workspaces.map((w) => (
          <WorkspaceCard key={w.id} workspace={w} overview={overview} />
        ))}
      </div>
      {workspace && <NextSteps workspace={workspace} region={overview.region} />}
      <p className={styles.detail}>Mangru {overview.version}</p>
    </div>
  );
}

/** useGlance asks the default data source how its targets are, again every few seconds while the page is shown. */
function useGlance() {
  const [tick, setTick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => document.visibilityState === 'visible' && setTick((n) => n + 1), REFRESH_MS);
    return () => clearInterval(timer);
  }, []);
  return useLoad(`glance-${tick}`, async (signal): Promise<Glance> => {
    const source = defaultSource(await fetchDataSources(signal));
    if (!source) {
      throw new Error('there is no data source');
    }
    const api = new PrometheusApi(source.uid);
    const now = Date.now();
    const ask = async (q: string) => (await api.instant(q, now, signal)).data;
    const [jobs, totals, down, series, rate] = await Promise.all([
      ask('sum by (job) (up)'),
      ask('count by (job) (up)'),
      ask('up == 0'),
      ask('sum(scrape_samples_post_metric_relabeling)'),
      ask('sum(scrape_samples_post_metric_relabeling * count_over_time(up[5m])) / 300'),
    ]);
    const total = new Map(rows(totals).map((r) => [r.labels.job ?? '', r.value]));
    const perJob = rows(jobs).map((r) => ({ job: r.labels.job ?? '', up: r.value, total: total.get(r.labels.job ?? '') ?? r.value }));
    return {
      up: perJob.reduce((n, j) => n + j.up, 0),
      down: rows(down).map((r) => ({ job: r.labels.job ?? '', instance: r.labels.instance ?? '' })),
      jobs: perJob.sort((a, b) => a.job.localeCompare(b.job)),
      series: rows(series)[0]?.value ?? null,
      rate: rows(rate)[0]?.value ?? null,
    };
  });
}

function rows(data: QueryData): { labels: Record<string, string>; value: number }[] {
  return data.resultType === 'vector' ? data.result.flatMap((s) => (s.value ? [{ labels: s.metric, value: parseValue(s.value[1]) }] : [])) : [];
}

function GlanceSection() {
  const t = useT();
  const h = useHomeTexts();
  const styles = useStyles2(getStyles);
  const { value, error, loading } = useGlance();
  if (error && !value) {
    return (
      <Alert severity="error" title={h('queryFailed', { reason: error.message })} />
    );
  }
  if (!value) {
    return loading ? <LoadingPlaceholder text={t('common.loading')} /> : null;
  }
  if (value.jobs.length === 0) {
    return (
      <Alert severity="info" title={h('noData')}>
        {h('noDataHint')}
      </Alert>
    );
  }
  const format = (n: number | null) => (n === null ? '-' : Math.round(n).toLocaleString());
  return (
    <>
      <div className={styles.tiles}>
        <Tile label={h('up')} value={format(value.up)} tone="good" />
        <Tile label={h('down')} value={format(value.down.length)} tone={value.down.length > 0 ? 'bad' : 'plain'} />
        <Tile label={h('series')} value={format(value.series)} />
        <Tile label={h('rate')} value={format(value.rate)} />
      </div>
      <div className={styles.jobs}>
        {value.jobs.map((j) => (
          <Badge key={j.job} color={j.up === j.total ? 'green' : 'red'} text={`${j.job} ${j.up}/${j.total}`} />
        ))}
      </div>
      {value.down.length > 0 && (
        <Alert severity="warning" title={h('downList', { list: value.down.slice(0, 10).map((d) => `${d.job} ${d.instance}`).join(', ') })} />
      )}
    </>
  );
}

function Tile({ label, value, tone = 'plain' }: { label: string; value: string; tone?: 'good' | 'bad' | 'plain' }) {
  const styles = useStyles2(getStyles);
  return (
    <div className={styles.tile}>
      <div className={styles.tileLabel}>{label}</div>
      <div className={`${styles.tileValue} ${tone === 'good' ? styles.good : tone === 'bad' ? styles.bad : ''}`}>{value}</div>
    </div>
  );
}

function Card({ title, children, action }: { title: string; children: ReactNode; action?: ReactNode }) {
  const styles = useStyles2(getStyles);
  return (
    <section className={styles.card}>
      <div className={styles.cardHead}>
        <h2>{title}</h2>
        {action}
      </div>
      {children}
    </section>
  );
}

function BoardsCard() {
  const t = useT();
  const h = useHomeTexts();
  const styles = useStyles2(getStyles);
  const boards = useLoad('boards', (signal) => searchBoards('', [], signal));
  return (
    <Card title={h('boards')} action={<Link to="/dashboards">{h('allBoards')}</Link>}>
      {boards.error && <Alert severity="error" title={boards.error.message} />}
      {boards.value?.length === 0 && <p>{t('boards.empty')}</p>}
      <ul className={styles.list}>
        {(boards.value ?? []).slice(0, 12).map((b) => (
          <li key={b.uid}>
            <Icon name="apps" />
            <Link to={`/d/${b.uid}`}>{b.title}</Link>
            <TagList tags={b.tags.slice(0, 2)} className={styles.tags} />
          </li>
        ))}
      </ul>
    </Card>
  );
}

function WorkspaceCard({ workspace, overview }: { workspace: Workspace; overview: Overview }) {
  const t = useT();
  const h = useHomeTexts();
  const styles = useStyles2(getStyles);
  const values: [string, string][] = [
    [h('workspaceId'), workspace.id],
    ['ARN', workspace.arn],
    [h('remoteWrite'), workspace.remoteWriteUrl],
    [h('query'), workspace.queryUrl],
    [h('endpoint'), workspace.prometheusEndpoint],
  ];
  return (
    <Card title={`${h('workspace')} ${workspace.alias}`} action={<Badge color={workspace.status === 'ACTIVE' ? 'green' : 'orange'} text={workspace.status} />}>
      <dl className={styles.facts}>
        {values.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>
              <code>{value}</code>
              <ClipboardButton size="sm" variant="secondary" fill="text" icon="copy" getText={() => value} aria-label={`${t('common.copy')}: ${name}`} />
            </dd>
          </div>
        ))}
        <div>
          <dt>
            {h('region')}, {h('account')}
          </dt>
          <dd>
            <code>
              {overview.region}, {overview.account}
            </code>
          </dd>
        </div>
      </dl>
    </Card>
  );
}

/** origin is the address of the AWS-shaped API: what stands before /workspaces in the workspace's URLs. */
function origin(url: string): string {
  try {
    return new URL(url).origin;
  } catch {
    return url;
  }
}

function NextSteps({ workspace, region }: { workspace: Workspace; region: string }) {
  const h = useHomeTexts();
  const cli = `aws amp list-workspaces --endpoint-url ${origin(workspace.remoteWriteUrl)} --region ${region}`;
  const collector = `remote_write:\n  - url: ${workspace.remoteWriteUrl}\n    sigv4:\n      region: ${region}`;
  const curl = `curl --aws-sigv4 "aws:amz:${region}:aps" --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \\\n  "${workspace.queryUrl}?query=up"`;
  return (
    <Card title={h('next')}>
      <Step title={h('nextCli')} text={h('nextCliText')} code={cli} />
      <Step title={h('nextCollector')} text={h('nextCollectorText')} code={collector} />
      <Step title={h('nextQuery')} text={h('nextQueryText')} code={curl} />
    </Card>
  );
}

function Step({ title, text, code }: { title: string; text: string; code: string }) {
  const t = useT();
  const styles = useStyles2(getStyles);
  const parts = text.split('`');
  return (
    <div className={styles.step}>
      <h3>{title}</h3>
      <p>{parts.map((p, i) => (i % 2 === 1 ? <code key={i}>{p}</code> : p))}</p>
      <div className={styles.code}>
        <pre tabIndex={0}>{code}</pre>
        <ClipboardButton size="sm" variant="secondary" icon="copy" getText={() => code} aria-label={`${t('common.copy')}: ${title}`} />
      </div>
    </div>
  );
}

const getStyles = (theme: GrafanaTheme2) => {
  const box = { background: theme.colors.background.primary, border: `1px solid ${theme.colors.border.weak}`, borderRadius: theme.shape.radius.default };
  return {
    page: css({ padding: theme.spacing(3), maxWidth: 1400, margin: '0 auto' }),
    title: css({ fontSize: theme.typography.h2.fontSize, marginBottom: theme.spacing(0.5) }),
    detail: css({ color: theme.colors.text.secondary }),
    tiles: css({ display: 'grid', gridTemplateColumns: 'repeat(auto-fit, minmax(180px, 1fr))', gap: theme.spacing(2), margin: theme.spacing(2, 0) }),
    tile: css({ ...box, padding: theme.spacing(2) }),
    tileLabel: css({ color: theme.colors.text.secondary, fontSize: theme.typography.bodySmall.fontSize }),
    tileValue: css({ fontSize: 32, fontWeight: 500, lineHeight: 1.3 }),
    good: css({ color: theme.colors.success.text }),
    bad: css({ color: theme.colors.error.text }),
    jobs: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(1), marginBottom: theme.spacing(2) }),
    columns: css({ display: 'grid', gridTemplateColumns: 'repeat(auto-fit, minmax(min(480px, 100%), 1fr))', gap: theme.spacing(2), marginBottom: theme.spacing(2) }),
    card: css({ ...box, padding: theme.spacing(2), minWidth: 0 }),
    cardHead: css({ display: 'flex', alignItems: 'center', justifyContent: 'space-between', marginBottom: theme.spacing(1), '& h2': { fontSize: theme.typography.h4.fontSize, margin: 0 }, '& a': { color: theme.colors.text.link } }),
    list: css({
      listStyle: 'none',
      '& li': { display: 'flex', alignItems: 'center', gap: theme.spacing(1), padding: theme.spacing(0.75, 0), borderBottom: `1px solid ${theme.colors.border.weak}` },
      '& li:last-child': { borderBottom: 'none' },
    }),
    tags: css({ flex: 1, justifyContent: 'flex-end' }),
    facts: css({
      margin: 0,
      '& dt': { color: theme.colors.text.secondary, fontSize: theme.typography.bodySmall.fontSize, fontWeight: 400 },
      '& dd': { display: 'flex', alignItems: 'center', margin: theme.spacing(0, 0, 1), minWidth: 0 },
      '& code': { overflowWrap: 'anywhere', whiteSpace: 'normal', minWidth: 0 },
    }),
    step: css({ marginBottom: theme.spacing(2), '& h3': { fontSize: theme.typography.h5.fontSize, marginBottom: 2 }, '& p': { color: theme.colors.text.secondary, marginBottom: theme.spacing(0.5) } }),
    code: css({ display: 'flex', gap: theme.spacing(1), alignItems: 'flex-start', '& pre': { flex: 1, margin: 0, overflow: 'auto', whiteSpace: 'pre' } }),
  };
};
