/** Texts of the administration pages, English and Korean; loaded with these pages only. */
import { useLanguage } from '../ui';

const english = {
  title: 'Administration', metrics: 'Metrics workspaces', users: 'Access keys', roles: 'Roles', policies: 'Policies', clusters: 'Clusters', audit: 'Audit log', providers: 'Sign-in providers',
  alias: 'Alias', status: 'Status', created: 'Created', create: 'Create', delete: 'Delete', cancel: 'Cancel', save: 'Save', name: 'Name', search: 'Search', show: 'Show', none: 'There is nothing here yet.',
  newWorkspace: 'Create workspace', deleteWorkspace: 'Delete workspace {name}? All its metrics, rules and alert settings go for good. Type its id to confirm.', remoteWrite: 'Remote write', query: 'Query',
  usersHint: 'Identities of programs: collectors, the AWS CLI, data sources. People sign in instead.', newUser: 'Create user', keys: 'Keys', newKey: 'Create access key', active: 'active', inactive: 'inactive', activate: 'Activate', deactivate: 'Deactivate', lastUsed: 'last used {when}', never: 'never used', policiesOf: 'Policies',
  secret: 'This is the only time that the secret is shown. Keep it safe.', accessKeyId: 'Access key ID', secretKey: 'Secret access key', copy: 'Copy', done: 'I kept it', deleteKey: 'Delete key {name}? Programs that use it are refused at once.',
  trust: 'Who may take it on', description: 'Description', own: 'own', ofAws: 'AWS', attachments: 'Attached', document: 'Document', endpoint: 'Address', version: 'Version', issuer: 'Token issuer', scrapable: 'Scraped from here', yes: 'yes', no: 'no',
  clustersHint: 'Registered with mangru cluster register. Their pods take on roles here.', rolesHint: 'Changed with mangru role, or aws iam.', time: 'Time', who: 'Who', action: 'Action', resource: 'Resource', decision: 'Decision', auditHint: 'The newest 200 lines of the present file, DIR/audit/audit.jsonl.',
  providersHint: 'People may sign in by these OpenID Connect or SAML 2.0 providers.', newProvider: 'Add provider', id: 'Id, as it is in addresses', kind: 'Kind', enabled: 'On the sign-in page', issuerUrl: 'Issuer URL', clientId: 'Client ID', clientSecret: 'Client secret', secretKept: 'Leave empty to keep the present one.', metadataUrl: 'Metadata URL', metadataXml: 'Metadata, as XML', groupsClaim: 'Claim or attribute with groups', groupMap: 'Groups: one line each, theirs = ours', makeAccounts: 'Make accounts for people who come the first time', linkEmail: 'Link accounts by addresses that both sides verified', callback: 'Redirect address (ACS)', spMetadata: 'Metadata of this side', deleteProvider: 'Delete provider {name}? Accounts that it made stay, without a way in by it.',
};

export type Key = keyof typeof english;

const korean: Record<Key, string> = {
  title: '관리', metrics: '메트릭 워크스페이스', users: '액세스 키', roles: '역할', policies: '정책', clusters: '클러스터', audit: '감사 로그', providers: '로그인 공급자',
  alias: '별칭', status: '상태', created: '생성일', create: '생성', delete: '삭제', cancel: '취소', save: '저장', name: '이름', search: '검색', show: '보기', none: '아직 아무것도 없습니다.',
  newWorkspace: '워크스페이스 생성', deleteWorkspace: '{name} 워크스페이스를 삭제할까요? 모든 메트릭, 규칙, 알림 설정이 영구히 삭제됩니다. 확인하려면 ID를 입력하세요.', remoteWrite: '원격 쓰기', query: '쿼리',
  usersHint: '수집기, AWS CLI, 데이터 소스 같은 프로그램의 자격 증명입니다. 사람은 로그인합니다.', newUser: '사용자 생성', keys: '키', newKey: '액세스 키 생성', active: '활성', inactive: '비활성', activate: '활성화', deactivate: '비활성화', lastUsed: '마지막 사용 {when}', never: '사용된 적 없음', policiesOf: '정책',
  secret: '비밀 키는 지금만 표시됩니다. 안전하게 보관하세요.', accessKeyId: '액세스 키 ID', secretKey: '시크릿 액세스 키', copy: '복사', done: '보관했습니다', deleteKey: '{name} 키를 삭제할까요? 사용 중인 프로그램은 즉시 거부됩니다.',
  trust: '위임할 수 있는 대상', description: '설명', own: '자체', ofAws: 'AWS', attachments: '연결', document: '문서', endpoint: '주소', version: '버전', issuer: '토큰 발급자', scrapable: '여기서 수집', yes: '예', no: '아니요',
  clustersHint: 'mangru cluster register 로 등록합니다. 파드가 여기의 역할을 위임받습니다.', rolesHint: 'mangru role 또는 aws iam 으로 변경합니다.', time: '시간', who: '누가', action: '작업', resource: '대상', decision: '결정', auditHint: '현재 파일 DIR/audit/audit.jsonl 의 최근 200줄입니다.',
  providersHint: '사용자는 다음 OpenID Connect 또는 SAML 2.0 공급자로 로그인할 수 있습니다.', newProvider: '공급자 추가', id: '주소에 쓰이는 ID', kind: '종류', enabled: '로그인 페이지에 표시', issuerUrl: '발급자 URL', clientId: '클라이언트 ID', clientSecret: '클라이언트 시크릿', secretKept: '비워 두면 현재 값을 유지합니다.', metadataUrl: '메타데이터 URL', metadataXml: '메타데이터 (XML)', groupsClaim: '그룹이 담긴 클레임 또는 속성', groupMap: '그룹: 한 줄에 하나씩, 상대 = 우리', makeAccounts: '처음 온 사용자의 계정 만들기', linkEmail: '양쪽에서 확인된 주소로 계정 연결', callback: '리디렉션 주소 (ACS)', spMetadata: '이쪽의 메타데이터', deleteProvider: '{name} 공급자를 삭제할까요? 만들어진 계정은 남지만 이 방법으로 로그인할 수 없습니다.',
};

export function useAdminTexts() {
  const { language } = useLanguage();
  const all = language === 'ko' ? korean : english;
  return (key: Key, values: Record<string, string> = {}) => all[key].replace(/\{(\w+)\}/g, (whole, name: string) => values[name] ?? whole);
}
