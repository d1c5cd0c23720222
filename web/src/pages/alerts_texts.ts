/** Texts of the pages about alerts, English and Korean. A key that is missing in one language does not compile. */
import { useLanguage } from '../ui';

const english = {
  title: 'Alerts', rules: 'Rules', active: 'Active', silences: 'Silences', history: 'History', notifications: 'Notifications', source: 'Data source',
  noRules: 'This workspace has no rules. Send some with "mangru rules push" or the API of Amazon Managed Prometheus.', noActive: 'Nothing is active at the alert manager.',
  noSilences: 'There are no silences.', noHistory: 'No alert was pending or firing in this time.', search: 'Search by name or label', every: 'every {interval} s',
  firing: 'firing', pending: 'pending', inactive: 'inactive', unknown: 'not evaluated yet', recording: 'recording', suppressed: 'silenced', unprocessed: 'new', expired: 'expired', healthErr: 'fails', healthOk: 'ok',
  lastEvaluation: 'last evaluated {time}, took {ms} ms', never: 'never evaluated', since: 'since {time}', holds: 'for {time}', explore: 'Explore', silence: 'Silence', newSilence: 'New silence', expire: 'Expire',
  matchers: 'Labels, one a line: name="value"', badMatcher: 'Not a matcher: {text}', comment: 'Why', duration: 'For', until: 'until {time}', ended: 'ended {time}', by: 'by {who}', create: 'Create', cancel: 'Cancel',
  needMatcher: 'At least one matcher must not match an empty value.', needComment: 'Say why, so that others know.', showExpired: 'Show expired', lasted: '{from} to {to}', goesOn: 'since {from}', hours: '{n} h', days: '{n} d',
  receivers: 'Receivers', config: 'Alert manager definition', noManager: 'No alert manager answers for this workspace: {reason}', onlyState: 'State', all: 'All',
};

export type AlertKey = keyof typeof english;

const korean: Record<AlertKey, string> = {
  title: '경보', rules: '규칙', active: '활성', silences: '무음', history: '이력', notifications: '알림', source: '데이터 소스',
  noRules: '이 워크스페이스에는 규칙이 없습니다. "mangru rules push" 또는 Amazon Managed Prometheus API로 보내세요.', noActive: '경보 관리자에 활성 경보가 없습니다.',
  noSilences: '무음 설정이 없습니다.', noHistory: '이 시간 동안 대기 중이거나 발생한 경보가 없습니다.', search: '이름 또는 레이블로 검색', every: '{interval}초마다',
  firing: '발생', pending: '대기', inactive: '비활성', unknown: '아직 평가되지 않음', recording: '기록', suppressed: '무음', unprocessed: '신규', expired: '만료', healthErr: '실패', healthOk: '정상',
  lastEvaluation: '마지막 평가 {time}, {ms} ms 소요', never: '평가된 적 없음', since: '{time}부터', holds: '{time} 동안', explore: '탐색', silence: '무음', newSilence: '새 무음', expire: '만료시키기',
  matchers: '레이블, 한 줄에 하나: name="value"', badMatcher: '조건이 아닙니다: {text}', comment: '이유', duration: '기간', until: '{time}까지', ended: '{time}에 끝남', by: '{who} 작성', create: '만들기', cancel: '취소',
  needMatcher: '빈 값과 일치하지 않는 조건이 하나 이상 필요합니다.', needComment: '다른 사람이 알 수 있게 이유를 적으세요.', showExpired: '만료된 것 보기', lasted: '{from} ~ {to}', goesOn: '{from}부터', hours: '{n}시간', days: '{n}일',
  receivers: '수신자', config: '경보 관리자 정의', noManager: '이 워크스페이스의 경보 관리자가 응답하지 않습니다: {reason}', onlyState: '상태', all: '전체',
};

export type AlertTexts = (key: AlertKey, values?: Record<string, string | number>) => string;

export function useAlertTexts(): AlertTexts {
  const { language } = useLanguage();
  const all = language === 'ko' ? korean : english;
  return (key, values = {}) => all[key].replace(/\{(\w+)\}/g, (whole, name: string) => (name in values ? String(values[name]) : whole));
}
