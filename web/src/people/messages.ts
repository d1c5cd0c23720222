/** Texts of the pages about people, English and Korean. A key that is missing in one language does not compile. */
import { ApiError } from '../data/http';
import { useLanguage } from '../ui';
import { CancelledError, ElsewhereError } from './passkey_errors';

const english = {
  title: 'Sign in', name: 'User name or e-mail', password: 'Password', signIn: 'Sign in', forgotten: 'Forgot your password?', back: 'Back to sign-in',
  code: 'Code', codeHint: 'Six digits from your authenticator app, or a recovery code.', remember: 'Do not ask again on this browser for 30 days', go: 'Continue',
  forgotTitle: 'New password', forgotHint: 'If the address belongs to an account and was verified, a mail with a link is on its way.', email: 'E-mail', send: 'Send link',
  signingIn: 'Signing in', noAccount: 'First start, or no password yet? Open the one-time link that mangru up printed, or make one:',
  acceptTitle: 'Choose a password', acceptFor: 'For {name} ({login})', newPassword: 'New password', again: 'New password, again', differ: 'The two passwords are not the same.',
  rules: '8 to 64 characters with a lower-case letter, an upper-case letter, a digit and another character.', set: 'Set password', mustChange: 'Your password was good for one sign-in. Choose your own now.',
  verifyTitle: 'Verify your address', verified: '{email} is verified.', toPortal: 'Go on', working: 'One moment',
  account: 'Account', profile: 'Profile', display: 'Name to show', given: 'First name', family: 'Last name', language: 'Language of mails', save: 'Save', saved: 'Saved.',
  verifiedYes: 'verified', verifiedNo: 'not verified', sendVerification: 'Send verification link', mailSent: 'A mail is on its way.',
  present: 'Present password', change: 'Change password', changed: 'The password was changed. Other browsers are signed out.',
  factors: 'Second factor', factorsNone: 'None yet. With an authenticator app, your password alone signs nobody in.', addApp: 'Add an authenticator app', appName: 'Name, such as the phone it is on', scan: 'Scan this with the app, or type the secret, then enter the code it shows.',
  recovery: 'Recovery codes', recoveryHint: 'Each signs you in once when your phone is away. They are shown this once: keep them safe.', recoveryLeft: '{n} recovery codes are left.', newCodes: 'Make new recovery codes', remove: 'Remove', done: 'I kept them',
  passkey: 'passkey', app: 'authenticator app', addPasskey: 'Add a passkey', withPasskey: 'Sign in with a passkey', withProvider: 'Sign in with {name}', usePasskey: 'Use a passkey', passkeyHint: 'A passkey signs you in alone, by fingerprint, face or PIN, and is a second factor after your password.', passkeyElsewhere: 'Passkeys belong to the pages at {host}: open those.', passkeyNowhere: 'Passkeys need pages at a name, over HTTPS; here there are none.', passkeyCancelled: 'No passkey was used: it was cancelled, took too long, or is registered already.',
  sessions: 'Signed-in browsers', thisOne: 'this one', end: 'Sign out', endOthers: 'Sign out everywhere else', link: 'one-time link',
  stepTitle: 'Show that it is you', confirm: 'Confirm', cancel: 'Cancel',
  people: 'People', search: 'Search people', add: 'Add person', login: 'User name', status: 'Status', none: 'Nobody of that name.', invite: 'Send invitation', otp: 'One-time password', disable: 'Disable', enable: 'Enable', makeAdmin: 'Make administrator', dropAdmin: 'Revoke administrator',
  administrator: 'administrator', disabled: 'disabled', active: 'active', waiting: 'invited or new', handOn: 'There is no mail server. Hand this link on; it works once:', otpHand: 'Hand this password on; it is good for one sign-in within 24 hours:', copy: 'Copy', emailAgain: 'E-mail, again', emailsDiffer: 'The two addresses are not the same.', more: 'Show more',
  deletePerson: 'Delete', deletePersonTitle: 'Delete {name}?', deletePersonHint: 'Their sign-in, sessions and memberships go for good. Permissions on folders and boards, teams and annotations go to the heir.', heir: 'Heir', heirNone: 'nobody: administrators look after it',
  workspaces: 'Workspaces', mine: 'Your workspaces', noneMine: 'You are in no dashboard workspace yet. An administrator can assign you to one.', noAccess: 'You have no role in this workspace', noAccessHint: 'Ask an administrator to assign you to it. These you may enter:', open: 'Open', role: 'Role', allWorkspaces: 'All workspaces',
  createWorkspace: 'Create workspace', workspaceName: 'Workspace name', workspaceNameHint: 'Letters, digits and - . _ ~', description: 'Description', authentication: 'Authentication', center: 'AWS IAM Identity Center', dataSourcesOf: 'Data sources', amp: 'Amazon Managed Service for Prometheus', url: 'Workspace URL', created: 'Created', version: 'Grafana version', defaultWorkspace: 'default',
  assigned: 'Assigned users and groups', assign: 'Assign new user or group', assignSelected: 'Assign users and groups', users: 'Users', groups: 'Groups', unassign: 'Unassign', nobodyAssigned: 'Nobody is assigned yet.', makeRole: 'Make {role}', VIEWER: 'viewer', EDITOR: 'editor', ADMIN: 'admin', gone: 'not in the directory any more', deleteWorkspace: 'Delete workspace', deleteSure: 'Delete {name} with all its boards, folders and data sources? There is no way back.', everybody: 'Everybody of the directory is a viewer here.',
  workspaceTitle: 'Dashboard workspace', withCenter: 'Sign in with AWS IAM Identity Center',
  sources: 'Data sources', addSource: 'Add data source', noSources: 'No data source yet. Boards read from one.', sourceName: 'Name', sourceDefault: 'Default', sourceUrl: 'URL', sourceUrlHint: 'Where the API begins, without /api/v1/query', auth: 'Auth', basicAuth: 'Basic auth', sigv4: 'SigV4 auth', user: 'User', sigv4Details: 'SigV4 auth details', provider: 'Authentication provider', keys: 'Access & secret key', chain: 'AWS SDK default', accessKey: 'Access key ID', secretKey: 'Secret access key', roleArn: 'Assume role ARN', externalId: 'External ID', region: 'Default region', service: 'Service',
  tls: 'TLS', skipVerify: 'Skip TLS verify', withCa: 'With CA cert', caCert: 'CA cert', clientAuth: 'TLS client auth', clientCert: 'Client cert', clientKey: 'Client key', serverName: 'Server name', bearer: 'Bearer token', method: 'HTTP method', interval: 'Scrape interval', timeout: 'Query timeout', implementation: 'Implementation', configured: 'configured', reset: 'Reset', saveTest: 'Save & test', works: 'Data source is working', fails: 'Data source does not work', deleteSource: 'Delete', readOnly: 'This data source is kept by the program or a file and cannot be changed here.', sourceDeleteSure: 'Delete {name}? Boards that read from it show nothing then.', explore: 'Explore', choose: 'Choose a type', typePrometheus: 'Prometheus', typeAmp: 'Amazon Managed Service for Prometheus', typeAlertmanager: 'Alertmanager',
  'error.slow': 'Too many tries. Wait a little and try again.', 'error.refused': 'The user name or password is not right.', 'error.code': 'The code is not right.', 'error.link': 'This link was used already, or is too old.',
  'error.passkey': 'The passkey was not accepted.', 'error.stepup': 'Show first that it is you.', 'error.taken': 'The user name or address is taken.', 'error.password.short': 'The password needs at least 8 characters.', 'error.password.long': 'The password may have at most 64 characters.',
  'error.password.classes': 'The password needs a lower-case letter, an upper-case letter, a digit and another character.', 'error.password.own': 'The password may not contain your name.',
  'error.password.common': 'This password is in lists of stolen passwords, or nearly: choose another.', 'error.password.again': 'The password is one of your last three: choose another.',
};

export type Key = keyof typeof english;

const korean: Record<Key, string> = {
  title: '로그인', name: '사용자 이름 또는 이메일', password: '비밀번호', signIn: '로그인', forgotten: '비밀번호를 잊으셨나요?', back: '로그인으로 돌아가기',
  code: '인증 코드', codeHint: '인증 앱에 표시된 6자리 숫자 또는 복구 코드를 입력하세요.', remember: '이 브라우저에서 30일 동안 다시 묻지 않기', go: '계속',
  forgotTitle: '새 비밀번호', forgotHint: '인증된 계정의 주소라면 링크가 담긴 메일이 곧 도착합니다.', email: '이메일', send: '링크 보내기',
  signingIn: '로그인하는 중', noAccount: '처음 시작했거나 아직 비밀번호가 없나요? mangru up 이 출력한 일회용 링크를 열거나 새로 만드세요:',
  acceptTitle: '비밀번호 설정', acceptFor: '{name} ({login}) 님', newPassword: '새 비밀번호', again: '새 비밀번호 확인', differ: '두 비밀번호가 서로 다릅니다.',
  rules: '8~64자이며 소문자, 대문자, 숫자, 그 밖의 문자를 하나 이상 포함해야 합니다.', set: '비밀번호 설정', mustChange: '일회용 비밀번호로 로그인했습니다. 이제 본인의 비밀번호를 정하세요.',
  verifyTitle: '이메일 주소 확인', verified: '{email} 주소가 확인되었습니다.', toPortal: '계속하기', working: '잠시만 기다려 주세요',
  account: '계정', profile: '프로필', display: '표시 이름', given: '이름', family: '성', language: '메일 언어', save: '저장', saved: '저장했습니다.',
  verifiedYes: '확인됨', verifiedNo: '확인되지 않음', sendVerification: '확인 링크 보내기', mailSent: '메일을 보냈습니다.',
  present: '현재 비밀번호', change: '비밀번호 변경', changed: '비밀번호가 변경되었습니다. 다른 브라우저는 로그아웃되었습니다.',
  factors: '2차 인증', factorsNone: '아직 없습니다. 인증 앱을 등록하면 비밀번호만으로는 로그인할 수 없습니다.', addApp: '인증 앱 추가', appName: '이름 (예: 사용하는 휴대전화)', scan: '앱으로 스캔하거나 비밀 키를 입력한 뒤, 앱에 표시된 코드를 입력하세요.',
  recovery: '복구 코드', recoveryHint: '휴대전화가 없을 때 한 번씩 사용할 수 있습니다. 지금만 표시되니 안전하게 보관하세요.', recoveryLeft: '복구 코드가 {n}개 남아 있습니다.', newCodes: '새 복구 코드 만들기', remove: '삭제', done: '보관했습니다',
  passkey: '패스키', app: '인증 앱', addPasskey: '패스키 추가', withPasskey: '패스키로 로그인', withProvider: '{name}(으)로 로그인', usePasskey: '패스키 사용', passkeyHint: '패스키는 지문, 얼굴 또는 PIN으로 바로 로그인하며, 비밀번호 뒤의 2차 인증으로도 쓸 수 있습니다.', passkeyElsewhere: '패스키는 {host} 주소의 페이지에서만 사용할 수 있습니다. 그 주소로 여세요.', passkeyNowhere: '패스키는 이름이 있는 HTTPS 페이지에서만 사용할 수 있습니다.', passkeyCancelled: '패스키를 사용하지 못했습니다. 취소되었거나 시간이 지났거나 이미 등록되어 있습니다.',
  sessions: '로그인된 브라우저', thisOne: '현재 브라우저', end: '로그아웃', endOthers: '다른 모든 곳에서 로그아웃', link: '일회용 링크',
  stepTitle: '본인 확인', confirm: '확인', cancel: '취소',
  people: '사용자', search: '사용자 검색', add: '사용자 추가', login: '사용자 이름', status: '상태', none: '해당하는 사용자가 없습니다.', invite: '초대 보내기', otp: '일회용 비밀번호', disable: '비활성화', enable: '활성화', makeAdmin: '관리자로 지정', dropAdmin: '관리자 해제',
  administrator: '관리자', disabled: '비활성', active: '활성', waiting: '초대됨 또는 새 사용자', handOn: '메일 서버가 없습니다. 이 링크를 직접 전달하세요. 한 번만 사용할 수 있습니다:', otpHand: '이 비밀번호를 전달하세요. 24시간 안에 한 번만 로그인할 수 있습니다:', copy: '복사', emailAgain: '이메일 확인', emailsDiffer: '두 주소가 서로 다릅니다.', more: '더 보기',
  deletePerson: '삭제', deletePersonTitle: '{name} 님을 삭제할까요?', deletePersonHint: '로그인 정보, 세션, 그룹 소속이 영구히 삭제됩니다. 폴더와 대시보드 권한, 팀, 주석은 승계자에게 넘어갑니다.', heir: '승계자', heirNone: '없음: 관리자가 관리합니다',
  workspaces: '워크스페이스', mine: '내 워크스페이스', noneMine: '아직 속한 대시보드 워크스페이스가 없습니다. 관리자에게 배정을 요청하세요.', noAccess: '이 워크스페이스에 대한 권한이 없습니다', noAccessHint: '관리자에게 배정을 요청하세요. 들어갈 수 있는 워크스페이스:', open: '열기', role: '역할', allWorkspaces: '모든 워크스페이스',
  createWorkspace: '워크스페이스 생성', workspaceName: '워크스페이스 이름', workspaceNameHint: '영문자, 숫자와 - . _ ~', description: '설명', authentication: '인증', center: 'AWS IAM Identity Center', dataSourcesOf: '데이터 소스', amp: 'Amazon Managed Service for Prometheus', url: '워크스페이스 URL', created: '생성일', version: 'Grafana 버전', defaultWorkspace: '기본',
  assigned: '배정된 사용자 및 그룹', assign: '새 사용자 또는 그룹 배정', assignSelected: '사용자 및 그룹 배정', users: '사용자', groups: '그룹', unassign: '배정 해제', nobodyAssigned: '아직 아무도 배정되지 않았습니다.', makeRole: '{role}로 지정', VIEWER: '뷰어', EDITOR: '편집자', ADMIN: '관리자', gone: '디렉터리에 더 이상 없음', deleteWorkspace: '워크스페이스 삭제', deleteSure: '{name} 워크스페이스를 모든 대시보드, 폴더, 데이터 소스와 함께 삭제할까요? 되돌릴 수 없습니다.', everybody: '디렉터리의 모든 사용자가 여기서 뷰어입니다.',
  workspaceTitle: '대시보드 워크스페이스', withCenter: 'AWS IAM Identity Center로 로그인',
  sources: '데이터 소스', addSource: '데이터 소스 추가', noSources: '아직 데이터 소스가 없습니다. 대시보드는 데이터 소스에서 읽습니다.', sourceName: '이름', sourceDefault: '기본값', sourceUrl: 'URL', sourceUrlHint: 'API가 시작되는 주소 (/api/v1/query 제외)', auth: '인증', basicAuth: 'Basic 인증', sigv4: 'SigV4 인증', user: '사용자', sigv4Details: 'SigV4 인증 세부 정보', provider: '인증 공급자', keys: '액세스 키와 시크릿 키', chain: 'AWS SDK 기본값', accessKey: '액세스 키 ID', secretKey: '시크릿 액세스 키', roleArn: '위임할 역할 ARN', externalId: '외부 ID', region: '기본 리전', service: '서비스',
  tls: 'TLS', skipVerify: 'TLS 검증 건너뛰기', withCa: 'CA 인증서 사용', caCert: 'CA 인증서', clientAuth: 'TLS 클라이언트 인증', clientCert: '클라이언트 인증서', clientKey: '클라이언트 키', serverName: '서버 이름', bearer: 'Bearer 토큰', method: 'HTTP 메서드', interval: '수집 간격', timeout: '쿼리 제한 시간', implementation: '구현', configured: '설정됨', reset: '재설정', saveTest: '저장 후 테스트', works: '데이터 소스가 작동합니다', fails: '데이터 소스가 작동하지 않습니다', deleteSource: '삭제', readOnly: '프로그램 또는 파일이 관리하는 데이터 소스라 여기서 변경할 수 없습니다.', sourceDeleteSure: '{name} 데이터 소스를 삭제할까요? 여기서 읽는 대시보드는 비게 됩니다.', explore: '탐색', choose: '종류 선택', typePrometheus: 'Prometheus', typeAmp: 'Amazon Managed Service for Prometheus', typeAlertmanager: 'Alertmanager',
  'error.slow': '시도가 너무 많습니다. 잠시 후 다시 시도하세요.', 'error.refused': '사용자 이름 또는 비밀번호가 올바르지 않습니다.', 'error.code': '인증 코드가 올바르지 않습니다.', 'error.link': '이미 사용했거나 만료된 링크입니다.',
  'error.passkey': '패스키를 확인할 수 없습니다.', 'error.stepup': '먼저 본인임을 확인해 주세요.', 'error.taken': '이미 사용 중인 사용자 이름 또는 주소입니다.', 'error.password.short': '비밀번호는 8자 이상이어야 합니다.', 'error.password.long': '비밀번호는 64자 이하여야 합니다.',
  'error.password.classes': '소문자, 대문자, 숫자, 그 밖의 문자를 하나 이상 포함해야 합니다.', 'error.password.own': '비밀번호에 본인의 이름을 포함할 수 없습니다.',
  'error.password.common': '유출된 비밀번호 목록에 있거나 그와 비슷합니다. 다른 비밀번호를 정하세요.', 'error.password.again': '최근에 사용한 비밀번호입니다. 다른 비밀번호를 정하세요.',
};

export interface Texts {
  t: (key: Key, values?: Record<string, string | number>) => string;
  /** problem says in the reader's language what went wrong. */
  problem: (err: unknown) => string;
}

export function useTexts(): Texts {
  const { language } = useLanguage();
  const all = language === 'ko' ? korean : english;
  const t: Texts['t'] = (key, values = {}) => all[key].replace(/\{(\w+)\}/g, (whole, name: string) => (name in values ? String(values[name]) : whole));
  const problem = (err: unknown) => {
    if (err instanceof ApiError && `error.${err.type}` in all) {
      return all[`error.${err.type}` as Key];
    }
    if (err instanceof ElsewhereError) {
      return t('passkeyElsewhere', { host: err.host });
    }
    if (err instanceof CancelledError) {
      return t('passkeyCancelled');
    }
    return err instanceof Error ? err.message : String(err);
  };
  return { t, problem };
}
