/** What is active at the alert manager, and silences: their list, a form for a new one, and their early end. */
import { dateTime } from '@grafana/data';
import { useContext, useState } from 'react';
import { createSilence, expireSilence, fetchManagedAlerts, fetchSilences, matcherText, parseMatcher, type ManagedAlert, type Silence } from '../data/alerts_api';
import { Alert, Badge, Button, Input, Modal, RadioButtonGroup, TextArea, useStyles2 } from '../ui';
import { useLoad } from '../ui/hooks';
import { getStyles, labelText, LoadedList } from './alerts';
import { useAlertTexts } from './alerts_texts';
import { SessionContext } from './session';

function useMayEdit(): boolean {
  const role = useContext(SessionContext)?.user.orgRole;
  return role === 'Admin' || role === 'Editor';
}

export function ActiveAlerts({ source }: { source: string }) {
  const text = useAlertTexts();
  const styles = useStyles2(getStyles);
  const loaded = useLoad(`managed-${source}`, (signal) => fetchManagedAlerts(source, signal));
  const [silencing, setSilencing] = useState<ManagedAlert | null>(null);
  const mayEdit = useMayEdit();
  return (
    <LoadedList loaded={loaded} empty={text('noActive')} isEmpty={(v) => v.length === 0}>
      {(alerts) => (
        <>
          <ul className={styles.list}>
            {alerts.map((a) => (
              <li key={a.fingerprint} data-testid="managed-alert">
                <Badge color={a.status.state === 'active' ? 'red' : a.status.state === 'suppressed' ? 'blue' : 'orange'} text={text(a.status.state)} />
                <div>
                  <strong>{a.labels.alertname}</strong> {a.annotations.summary ?? a.annotations.description ?? ''}
                  <small>{labelText(a.labels)}</small>
                  <small>
                    {text('since', { time: dateTime(a.startsAt).fromNow(true) })} · {text('receivers')}: {a.receivers.map((r) => r.name).join(', ')}
                  </small>
                </div>
                {mayEdit && (
                  <Button size="sm" variant="secondary" icon="bell" onClick={() => setSilencing(a)}>
                    {text('silence')}
                  </Button>
                )}
              </li>
            ))}
          </ul>
          {silencing && <SilenceForm source={source} matchers={Object.entries(silencing.labels).map(([name, value]) => matcherText({ name, value, isRegex: false, isEqual: true })).join('\n')} onClose={() => setSilencing(null)} onMade={loaded.reload} />}
        </>
      )}
    </LoadedList>
  );
}

const SILENCE_COLOR = { active: 'blue', pending: 'orange', expired: 'darkgrey' } as const;

export function Silences({ source }: { source: string }) {
  const text = useAlertTexts();
  const styles = useStyles2(getStyles);
  const loaded = useLoad(`silences-${source}`, (signal) => fetchSilences(source, signal));
  const [making, setMaking] = useState(false);
  const [expired, setExpired] = useState(false);
  const [problem, setProblem] = useState('');
  const mayEdit = useMayEdit();
  const end = (s: Silence) => expireSilence(source, s.id).then(loaded.reload, (err: unknown) => setProblem(err instanceof Error ? err.message : String(err)));
  return (
    <>
      <div className={styles.filters}>
        <label>
          <input type="checkbox" checked={expired} onChange={(e) => setExpired(e.currentTarget.checked)} /> {text('showExpired')}
        </label>
        {mayEdit && (
          <Button icon="plus" onClick={() => setMaking(true)}>
            {text('newSilence')}
          </Button>
        )}
      </div>
      {problem !== '' && <Alert severity="error" title={problem} onRemove={() => setProblem('')} />}
      <LoadedList loaded={loaded} empty={text('noSilences')} isEmpty={(v) => v.filter((s) => expired || s.status.state !== 'expired').length === 0}>
        {(list) => (
          <ul className={styles.list}>
            {list.filter((s) => expired || s.status.state !== 'expired').map((s) => (
              <li key={s.id} data-testid="silence">
                <Badge color={SILENCE_COLOR[s.status.state]} text={text(s.status.state)} />
                <div>
                  <code>{s.matchers.map(matcherText).join(' ')}</code>
                  {s.comment}
                  <small>
                    {text('by', { who: s.createdBy })} · {text(s.status.state === 'expired' ? 'ended' : 'until', { time: dateTime(s.endsAt).format('YYYY-MM-DD HH:mm') })}
                  </small>
                </div>
                {mayEdit && s.status.state !== 'expired' && (
                  <Button size="sm" variant="secondary" onClick={() => void end(s)}>
                    {text('expire')}
                  </Button>
                )}
              </li>
            ))}
          </ul>
        )}
      </LoadedList>
      {making && <SilenceForm source={source} matchers="" onClose={() => setMaking(false)} onMade={loaded.reload} />}
    </>
  );
}

interface FormProps {
  source: string;
  matchers: string;
  onClose: () => void;
  onMade: () => void;
}

function SilenceForm({ source, matchers, onClose, onMade }: FormProps) {
  const text = useAlertTexts();
  const styles = useStyles2(getStyles);
  const login = useContext(SessionContext)?.user.login ?? '';
  const [labels, setLabels] = useState(matchers);
  const [comment, setComment] = useState('');
  const [hours, setHours] = useState(2);
  const [problem, setProblem] = useState('');
  const create = async () => {
    const lines = labels.split('\n').filter((l) => l.trim() !== '');
    const parsed = lines.map(parseMatcher);
    const bad = lines.find((_, i) => parsed[i] === null);
    const good = parsed.filter((m) => m !== null);
    if (bad !== undefined) {
      return setProblem(text('badMatcher', { text: bad }));
    }
    if (!good.some((m) => m.isEqual && m.value !== '')) {
      return setProblem(text('needMatcher'));
    }
    if (comment.trim() === '') {
      return setProblem(text('needComment'));
    }
    const now = Date.now();
    try {
      await createSilence(source, { matchers: good, comment: comment.trim(), createdBy: login, startsAt: new Date(now).toISOString(), endsAt: new Date(now + hours * 3_600_000).toISOString() });
      onMade();
      onClose();
    } catch (err) {
      setProblem(err instanceof Error ? err.message : String(err));
    }
  };
  return (
    <Modal isOpen title={text('newSilence')} onDismiss={onClose}>
      <div className={styles.form}>
        <label>
          {text('matchers')}
          <TextArea value={labels} rows={Math.min(8, Math.max(3, labels.split('\n').length))} onChange={(e) => setLabels(e.currentTarget.value)} />
        </label>
        <RadioButtonGroup aria-label={text('duration')} value={hours} onChange={setHours} options={[1, 2, 8, 24, 168].map((n) => ({ value: n, label: n < 24 ? text('hours', { n }) : text('days', { n: n / 24 }) }))} />
        <label>
          {text('comment')}
          <Input value={comment} onChange={(e) => setComment(e.currentTarget.value)} />
        </label>
        {problem !== '' && <Alert severity="error" title={problem} />}
        <Modal.ButtonRow>
          <Button variant="secondary" onClick={onClose}>
            {text('cancel')}
          </Button>
          <Button onClick={() => void create()}>{text('create')}</Button>
        </Modal.ButtonRow>
      </div>
    </Modal>
  );
}
