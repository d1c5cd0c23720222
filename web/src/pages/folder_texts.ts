/** Texts of the pages about folders, permissions and the library, English and Korean. */
import { localTexts } from '../ui';

const english = {
  home: 'Home', boards: 'Dashboards', folders: 'Folders', top: 'Top level', loading: 'Loading', retry: 'Try again', cancel: 'Cancel', save: 'Save', delete: 'Delete', move: 'Move', close: 'Close',
  newFolder: 'New folder', newInside: 'New folder in here', rename: 'Rename', name: 'Name', description: 'Description', into: 'Into', empty: 'Nothing is in here yet.', folderEmpty: 'There are no folders yet.',
  contents: 'Contents', library: 'Library panels', permissions: 'Permissions', moveTitle: 'Move "{title}"', deleteTitle: 'Delete "{title}"?', counting: 'Looking what is inside',
  deleteSure: 'In this folder and those inside it: folders: {folders}, dashboards: {boards}, library panels: {panels}, alert rules: {rules}. All of them go. There is no way back.',
  typeTitle: 'Type the name of the folder to delete it', notFound: 'This folder does not exist, or you may not see it.', moved: 'moved to another folder',
  permissionsOf: 'Permissions of "{title}"', who: 'Who', level: 'May', inherited: 'inherited', fromAbove: 'From the folder above: change it there.', noPermissions: 'Nobody but administrators may see this.', adminsAlways: 'Administrators of this workspace may always do everything. Of several permissions the highest wins.',
  View: 'View', Edit: 'Edit', Admin: 'Administer', everyEditor: 'Everybody who is an editor', everyViewer: 'Everybody who is a viewer', everyAdmin: 'Everybody who is an administrator', team: 'Team {name}', account: 'Service account {name}', user: '{name}',
  addPermission: 'Add', choose: 'Choose whom', remove: 'Take permission away from {name}', notAdmin: 'Only who administers this may see and change its permissions.', changeFor: 'What {name} may do',
  noLibrary: 'No library panel yet. A library panel is one panel that many dashboards show; a change reaches all of them.', searchLibrary: 'Search the library', newLibrary: 'New from a dashboard', usedBy: 'Used by dashboards: {n}', unused: 'not used', type: 'type {type}', use: 'Add to a dashboard', unlink: 'Unlink',
  connected: 'Dashboards that show it', noConnected: 'None that you may see.', unlinkSure: 'Makes the panel in "{title}" a copy of its own: later changes of the library panel do not reach it.', unlinked: 'unlinked library panel {name}', linked: 'made a library panel: {name}',
  chooseBoard: 'Dashboard', choosePanel: 'Panel', noPanels: 'This dashboard has no panels that could go into the library.', deleteLibrary: 'Delete library panel "{name}"?', stillUsed: 'Dashboards show it. Unlink it there first.', deleteLibrarySure: 'No dashboard shows it. There is no way back.', json: 'Panel JSON', badJson: 'Not JSON of a panel: {error}', edit: 'Edit',
};

const korean: Record<keyof typeof english, string> = {
  home: '홈', boards: '대시보드', folders: '폴더', top: '최상위', loading: '불러오는 중', retry: '다시 시도', cancel: '취소', save: '저장', delete: '삭제', move: '이동', close: '닫기',
  newFolder: '새 폴더', newInside: '이 안에 새 폴더', rename: '이름 바꾸기', name: '이름', description: '설명', into: '대상 폴더', empty: '아직 아무것도 없습니다.', folderEmpty: '아직 폴더가 없습니다.',
  contents: '내용', library: '라이브러리 패널', permissions: '권한', moveTitle: '"{title}" 이동', deleteTitle: '"{title}"을(를) 삭제할까요?', counting: '안에 무엇이 있는지 확인하는 중',
  deleteSure: '하위 폴더까지 세어 폴더 {folders}개, 대시보드 {boards}개, 라이브러리 패널 {panels}개, 경보 규칙 {rules}개가 있습니다. 모두 삭제되며 되돌릴 수 없습니다.',
  typeTitle: '삭제하려면 폴더 이름을 입력하세요', notFound: '이 폴더가 없거나 볼 권한이 없습니다.', moved: '다른 폴더로 이동',
  permissionsOf: '"{title}"의 권한', who: '대상', level: '허용', inherited: '상속됨', fromAbove: '상위 폴더에서 온 권한입니다. 그곳에서 바꾸세요.', noPermissions: '관리자 외에는 아무도 볼 수 없습니다.', adminsAlways: '이 워크스페이스의 관리자는 항상 모든 것을 할 수 있습니다. 여러 권한 중 가장 높은 것이 적용됩니다.',
  View: '보기', Edit: '편집', Admin: '관리', everyEditor: '모든 편집자', everyViewer: '모든 뷰어', everyAdmin: '모든 관리자', team: '팀 {name}', account: '서비스 계정 {name}', user: '{name}',
  addPermission: '추가', choose: '대상 선택', remove: '{name}의 권한 삭제', notAdmin: '관리 권한이 있는 사람만 권한을 보고 바꿀 수 있습니다.', changeFor: '{name}에게 허용할 것',
  noLibrary: '아직 라이브러리 패널이 없습니다. 라이브러리 패널은 여러 대시보드가 함께 쓰는 하나의 패널이며, 바꾸면 모두에 반영됩니다.', searchLibrary: '라이브러리 검색', newLibrary: '대시보드에서 만들기', usedBy: '대시보드 {n}개에서 사용', unused: '사용 안 함', type: '유형 {type}', use: '대시보드에 추가', unlink: '연결 해제',
  connected: '이 패널을 쓰는 대시보드', noConnected: '볼 수 있는 것이 없습니다.', unlinkSure: '"{title}"의 패널이 독립된 사본이 됩니다. 이후 라이브러리 패널의 변경은 반영되지 않습니다.', unlinked: '라이브러리 패널 {name} 연결 해제', linked: '라이브러리 패널로 만듦: {name}',
  chooseBoard: '대시보드', choosePanel: '패널', noPanels: '이 대시보드에는 라이브러리에 넣을 패널이 없습니다.', deleteLibrary: '라이브러리 패널 "{name}"을(를) 삭제할까요?', stillUsed: '사용하는 대시보드가 있습니다. 먼저 그곳에서 연결을 해제하세요.', deleteLibrarySure: '사용하는 대시보드가 없습니다. 되돌릴 수 없습니다.', json: '패널 JSON', badJson: '패널 JSON이 아닙니다: {error}', edit: '편집',
};

export const useFolderTexts = localTexts(english, korean);
export type FolderTexts = ReturnType<typeof useFolderTexts>;
