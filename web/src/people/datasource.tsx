/** The settings of one data source, field by field, and "Save & test". */
import { css } from '@emotion/css';
import type { GrafanaTheme2 } from '@grafana/data';
import { useId, useState } from 'react';
import { useNavigate, useParams } from 'react-router';
import { Shell } from '../pages/shell';
import { Alert, Button, Input, LoadingPlaceholder, Modal, TextArea, useStyles2, useT } from '../ui';
import { useLoad } from '../ui/hooks';
import { Field, useSubmit } from './frame';
import { useTexts, type Texts } from './messages';
import { deleteSource, fetchSource, saveSource, testSource, type Health, type SourceSettings } from './sources_api';
import { getStyles as shared } from './workspaces';

type Saved = SourceSettings & { uid: string };

export default function DataSourcePage() {
  const { uid = '' } = useParams();
  const { t, problem } = useTexts();
  const home = useT();
  const styles = useStyles2(shared);
  const load = useLoad(uid, () => fetchSource(uid));
  return (
    <Shell crumbs={[{ text: home('nav.home'), to: '/' }, { text: t('sources'), to: '/datasources' }, { text: load.value?.name ?? uid }]}>
      <div className={styles.page}>
        {load.error && <Alert severity="error" title={problem(load.error)} buttonContent={home('common.retry')} onRemove={load.reload} />}
        {load.value === null && !load.error && <LoadingPlaceholder text={t('working')} />}
        {load.value && <Settings key={load.value.uid} saved={load.value} />}
      </div>
    </Shell>
  );
}

/** Draft is a data source while it is edited: its settings, and secrets that were typed. */
interface Draft {
  source: Saved;
  secrets: Record<string, string>;
}

interface Part {
  texts: Texts;
  draft: Draft;
  set: (change: Partial<Saved>) => void;
  setJson: (change: Record<string, unknown>) => void;
  setSecret: (name: string, value: string | null) => void;
}

function Settings({ saved }: { saved: Saved }) {
  const texts = useTexts();
  const { t } = texts;
  const styles = useStyles2(getStyles);
  const [draft, setDraft] = useState<Draft>({ source: saved, secrets: {} });
  const [health, setHealth] = useState<Health | null>(null);
  const form = useSubmit(async () => {
    setHealth(null);
    const { datasource } = await saveSource({ ...draft.source, secureJsonData: draft.secrets });
    setDraft({ source: datasource, secrets: {} });
    setHealth(await testSource(datasource.uid));
  });
  const part: Part = {
    texts, draft,
    set: (change) => setDraft((d) => ({ ...d, source: { ...d.source, ...change } })),
    setJson: (change) => setDraft((d) => ({ ...d, source: { ...d.source, jsonData: { ...d.source.jsonData, ...change } } })),
    setSecret: (name, value) =>
      setDraft((d) => ({
        source: { ...d.source, secureJsonFields: { ...d.source.secureJsonFields, [name]: false } },
        secrets: value === null ? { ...d.secrets, [name]: '' } : { ...d.secrets, [name]: value },
      })),
  };
  return (
    <form className={styles.form} onSubmit={form.submit}>
      {saved.readOnly && <Alert severity="info" title={t('readOnly')} />}
      <fieldset disabled={saved.readOnly} className={styles.bare}>
        <General {...part} />
        <Http {...part} />
        <Auth {...part} />
        {draft.source.type === 'alertmanager' ? null : <Querying {...part} />}
      </fieldset>
      {form.note}
      {health && (
        <Alert severity={health.status === 'OK' ? 'success' : 'error'} title={t(health.status === 'OK' ? 'works' : 'fails')}>
          {health.message} {health.details?.advice}
        </Alert>
      )}
      {!saved.readOnly && (
        <p>
          <Button type="submit" disabled={form.busy}>
            {t('saveTest')}
          </Button>{' '}
          <Remove source={saved} />
        </p>
      )}
    </form>
  );
}

function General({ texts: { t }, draft, set }: Part) {
  return (
    <>
      <Field label={t('sourceName')} value={draft.source.name} onChange={(name) => set({ name })} />
      <Check label={t('sourceDefault')} value={draft.source.isDefault} onChange={(isDefault) => set({ isDefault })} />
    </>
  );
}

function Http({ texts: { t }, draft, set }: Part) {
  return (
    <fieldset>
      <legend>HTTP</legend>
      <Field label={t('sourceUrl')} hint={t('sourceUrlHint')} value={draft.source.url} onChange={(url) => set({ url })} />
    </fieldset>
  );
}

function Auth(p: Part) {
  const { t } = p.texts;
  const { source } = p.draft;
  const json = source.jsonData;
  const on = (name: string) => json[name] === true;
  const bearer = json.httpHeaderName1 === 'Authorization';
  return (
    <>
      <fieldset>
        <legend>{t('auth')}</legend>
        <Check label={t('basicAuth')} value={source.basicAuth} onChange={(basicAuth) => p.set({ basicAuth })} />
        <Check label={t('sigv4')} value={on('sigV4Auth')} onChange={(v) => p.setJson({ sigV4Auth: v, sigV4AuthType: json.sigV4AuthType ?? 'keys' })} />
        <Check label={t('bearer')} value={bearer} onChange={(v) => p.setJson({ httpHeaderName1: v ? 'Authorization' : undefined })} />
        <Check label={t('skipVerify')} value={on('tlsSkipVerify')} onChange={(v) => p.setJson({ tlsSkipVerify: v })} />
        <Check label={t('withCa')} value={on('tlsAuthWithCACert')} onChange={(v) => p.setJson({ tlsAuthWithCACert: v })} />
        <Check label={t('clientAuth')} value={on('tlsAuth')} onChange={(v) => p.setJson({ tlsAuth: v })} />
      </fieldset>
      {source.basicAuth && (
        <fieldset>
          <legend>{t('basicAuth')}</legend>
          <Field label={t('user')} value={source.basicAuthUser} onChange={(basicAuthUser) => p.set({ basicAuthUser })} autoComplete="off" />
          <Secret p={p} name="basicAuthPassword" label={t('password')} />
        </fieldset>
      )}
      {bearer && <Secret p={p} name="httpHeaderValue1" label={t('bearer')} prefix="Bearer " />}
      {on('sigV4Auth') && <SigV4 {...p} />}
      {(on('tlsAuthWithCACert') || on('tlsAuth')) && (
        <fieldset>
          <legend>{t('tls')}</legend>
          <Text p={p} name="serverName" label={t('serverName')} />
          {on('tlsAuthWithCACert') && <Secret p={p} name="tlsCACert" label={t('caCert')} lines />}
          {on('tlsAuth') && <Secret p={p} name="tlsClientCert" label={t('clientCert')} lines />}
          {on('tlsAuth') && <Secret p={p} name="tlsClientKey" label={t('clientKey')} lines />}
        </fieldset>
      )}
    </>
  );
}

function SigV4(p: Part) {
  const { t } = p.texts;
  const kind = String(p.draft.source.jsonData.sigV4AuthType ?? 'keys');
  return (
    <fieldset>
      <legend>{t('sigv4Details')}</legend>
      <Choice
        label={t('provider')}
        value={kind}
        options={[
          ['keys', t('keys')],
          ['default', t('chain')],
        ]}
        onChange={(sigV4AuthType) => p.setJson({ sigV4AuthType })}
      />
      {kind === 'keys' && <Secret p={p} name="sigV4AccessKey" label={t('accessKey')} />}
      {kind === 'keys' && <Secret p={p} name="sigV4SecretKey" label={t('secretKey')} />}
      <Text p={p} name="sigV4AssumeRoleArn" label={t('roleArn')} placeholder="arn:aws:iam::*" />
      <Text p={p} name="sigV4ExternalId" label={t('externalId')} />
      <Text p={p} name="sigV4Region" label={t('region')} placeholder="ap-northeast-2" required />
      <Text p={p} name="sigV4Service" label={t('service')} placeholder="aps" />
    </fieldset>
  );
}

function Querying(p: Part) {
  const { t } = p.texts;
  return (
    <fieldset>
      <legend>Prometheus</legend>
      <Choice
        label={t('method')}
        value={String(p.draft.source.jsonData.httpMethod ?? 'POST')}
        options={[
          ['POST', 'POST'],
          ['GET', 'GET'],
        ]}
        onChange={(httpMethod) => p.setJson({ httpMethod })}
      />
      <Text p={p} name="timeInterval" label={t('interval')} placeholder="15s" />
      <Text p={p} name="queryTimeout" label={t('timeout')} placeholder="60s" />
    </fieldset>
  );
}

/** Text is a text of jsonData. */
function Text({ p, name, label, placeholder, required = false }: { p: Part; name: string; label: string; placeholder?: string; required?: boolean }) {
  const id = useId();
  const styles = useStyles2(getStyles);
  const value = p.draft.source.jsonData[name];
  return (
    <div className={styles.field}>
      <label htmlFor={id}>{label}</label>
      <Input id={id} value={typeof value === 'string' ? value : ''} placeholder={placeholder} required={required} autoComplete="off" onChange={(e) => p.setJson({ [name]: e.currentTarget.value })} />
    </div>
  );
}

/** Secret goes in and never comes back: where one is set it can be replaced, not read. */
function Secret({ p, name, label, lines = false, prefix = '' }: { p: Part; name: string; label: string; lines?: boolean; prefix?: string }) {
  const { t } = p.texts;
  const id = useId();
  const styles = useStyles2(getStyles);
  const isSet = p.draft.source.secureJsonFields?.[name] === true;
  const typed = (p.draft.secrets[name] ?? '').slice(prefix.length);
  const change = (v: string) => p.setSecret(name, v === '' ? null : prefix + v);
  return (
    <div className={styles.field}>
      <label htmlFor={id}>{label}</label>
      {isSet ? (
        <span className={styles.set}>
          <Input id={id} value={t('configured')} disabled readOnly />
          <Button type="button" variant="secondary" onClick={() => p.setSecret(name, null)}>
            {t('reset')}
          </Button>
        </span>
      ) : lines ? (
        <TextArea id={id} rows={5} value={typed} onChange={(e) => change(e.currentTarget.value)} />
      ) : (
        <Input id={id} type="password" value={typed} autoComplete="new-password" onChange={(e) => change(e.currentTarget.value)} />
      )}
    </div>
  );
}

function Check({ label, value, onChange }: { label: string; value: boolean; onChange: (v: boolean) => void }) {
  const styles = useStyles2(getStyles);
  return (
    <label className={styles.check}>
      <input type="checkbox" checked={value} onChange={(e) => onChange(e.currentTarget.checked)} /> {label}
    </label>
  );
}

function Choice({ label, value, options, onChange }: { label: string; value: string; options: [string, string][]; onChange: (v: string) => void }) {
  const id = useId();
  const styles = useStyles2(getStyles);
  return (
    <div className={styles.field}>
      <label htmlFor={id}>{label}</label>
      <select id={id} value={value} onChange={(e) => onChange(e.currentTarget.value)}>
        {options.map(([v, text]) => (
          <option key={v} value={v}>
            {text}
          </option>
        ))}
      </select>
    </div>
  );
}

function Remove({ source }: { source: Saved }) {
  const { t } = useTexts();
  const navigate = useNavigate();
  const [asking, setAsking] = useState(false);
  const form = useSubmit(async () => {
    await deleteSource(source.uid);
    void navigate('/datasources');
  });
  return (
    <>
      <Button type="button" variant="destructive" fill="outline" onClick={() => setAsking(true)}>
        {t('deleteSource')}
      </Button>
      {asking && (
        <Modal title={t('deleteSource')} isOpen onDismiss={() => setAsking(false)}>
          {form.note}
          <p>{t('sourceDeleteSure', { name: source.name })}</p>
          <Button type="button" variant="destructive" disabled={form.busy} onClick={() => form.submit()}>
            {t('deleteSource')}
          </Button>{' '}
          <Button type="button" variant="secondary" onClick={() => setAsking(false)}>
            {t('cancel')}
          </Button>
        </Modal>
      )}
    </>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  form: css({
    maxWidth: 640, '& fieldset': { margin: theme.spacing(2, 0), padding: theme.spacing(2), border: `1px solid ${theme.colors.border.weak}`, borderRadius: theme.shape.radius.default },
    '& legend': { width: 'auto', padding: theme.spacing(0, 1), margin: 0, border: 'none', fontSize: theme.typography.h5.fontSize },
  }),
  bare: css({ '&&': { border: 'none', padding: 0, margin: 0 } }),
  field: css({
    marginBottom: theme.spacing(2), '& label': { display: 'block', marginBottom: theme.spacing(0.5), fontWeight: theme.typography.fontWeightMedium },
    '& select': { width: '100%', height: theme.spacing(4), background: theme.components.input.background, color: theme.colors.text.primary, border: `1px solid ${theme.components.input.borderColor}` },
  }),
  check: css({ display: 'inline-block', minWidth: 200, padding: theme.spacing(0.5, 0) }),
  set: css({ display: 'flex', gap: theme.spacing(1) }),
});
