/** Texts of editing a board, English and Korean. */
import { localTexts } from '../ui';

const english = {
  title: 'Edit dashboard', settings: 'Settings', json: 'JSON', versions: 'Versions', addPanel: 'Add panel', untitled: 'Untitled', description: 'Description',
  type: 'Type', unit: 'Unit', text: 'Text (Markdown)', legend: 'Legend', hideQuery: 'Show or hide this query', addQuery: 'Add query', tags: 'Tags, with commas',
  from: 'From', to: 'To', refresh: 'Refresh every', notObject: 'A dashboard is a JSON object.', apply: 'Apply', diff: 'Changes', restore: 'Restore',
  noChanges: 'No difference.', leave: 'There are changes that are not saved. Leave all the same?', save: 'Save', discard: 'Discard changes',
  deleteBoard: 'Delete dashboard', deleteSure: 'Delete "{title}" with all its versions? This cannot be undone.', saveTitle: 'Save dashboard', copy: 'copy',
  provisioned: 'This dashboard is kept up to date by the server or a file, so your changes are saved as a copy.',
  conflict: 'Somebody else has saved this dashboard meanwhile. Saving now replaces their version; it stays in the history.', overwrite: 'Save over it',
  message: 'What changed', messageHint: 'Shown in the list of versions', cancel: 'Cancel', done: 'Done', undo: 'Undo', redo: 'Redo', addRow: 'Add row', newRow: 'New row',
  general: 'General', variables: 'Variables', annotations: 'Annotations', links: 'Links', saveTime: 'Make the time range on the screen the default ({range})',
  saveVariables: 'Make the variable values on the screen the default', changesOf: '{n} changes', changesOne: '1 change', newOne: 'A new dashboard with {n} panels.',
  moreChanges: 'and {n} more',
  timezone: 'Time zone', zoneDefault: 'Default', zoneBrowser: 'Browser', crosshair: 'Shared cursor', crosshairOff: 'None', crosshairOn: 'Crosshair', crosshairTooltip: 'Crosshair and tooltip',
  varName: 'Name', varLabel: 'Label', hide: 'Hide', hideNothing: 'Nothing', hideLabel: 'Label', hideVariable: 'Variable', source: 'Data source', query: 'Query', regex: 'Regular expression', sort: 'Order', sortNone: 'As it comes',
  varRefresh: 'Refresh', refreshLoad: 'When the dashboard opens', refreshTime: 'When the time range changes', multi: 'Several values', includeAll: 'Offer "All"', allValue: 'Value of "All"', foundValues: '{n} values: {some}', addVariable: 'Add variable',
  annotationName: 'Name', enabled: 'Shown from the start', hideSwitch: 'Hide its switch', step: 'Step', titleFormat: 'Title', textFormat: 'Text', tagKeys: 'Labels as tags', useValueForTime: 'The value is the time', color: 'Colour', addAnnotation: 'Add annotation',
  annotationsHint: 'A query marks a moment on every time axis wherever its value is not zero.', linkUrl: 'Address', linkBoards: 'Dashboards with tags', linkTitle: 'Title', url: 'Address', asDropdown: 'As a list that opens', includeVars: 'Take variable values along', keepTime: 'Take the time range along',
  targetBlank: 'In a new tab', addLink: 'Add link', up: 'Up', down: 'Down', noPanel: 'This dashboard has no such panel any more.', queries: 'Queries', transformations: 'Transformations', options: 'Options', searchOptions: 'Search options', noOption: 'No option matches.',
  queryType: 'Query type', format: 'Format', formatSeries: 'Time series', formatTable: 'Table', formatHeatmap: 'Heatmap', thresholds: 'Thresholds', thresholdMode: 'Threshold mode', absolute: 'Absolute', percentage: 'Percentage', base: 'Base', thresholdFrom: 'Threshold {n}',
  thresholdColor: 'Colour of threshold {n}', addThreshold: 'Add threshold', mappings: 'Value mappings', mappingKind: 'Kind of mapping', value: 'Value', range: 'Range', special: 'Special', match: 'Matches', shownText: 'Shown as', addMapping: 'Add mapping', dataLinks: 'Data links', panelLinks: 'Panel links',
  overrides: 'Overrides', matcher: 'Fields', addProperty: 'Add property', addOverride: 'Add override', addTransformation: 'Add transformation', disable: 'Turn on or off',
};

export type EditKey = keyof typeof english;

const korean: Record<EditKey, string> = {
  title: '대시보드 편집', settings: '설정', json: 'JSON', versions: '버전', addPanel: '패널 추가', untitled: '제목 없음', description: '설명', type: '유형', unit: '단위', text: '텍스트 (Markdown)',
  legend: '범례', hideQuery: '이 쿼리 표시 또는 숨기기', addQuery: '쿼리 추가', tags: '태그 (쉼표로 구분)', from: '시작', to: '끝', refresh: '새로 고침 간격', notObject: '대시보드는 JSON 객체여야 합니다.',
  apply: '적용', diff: '변경 사항', restore: '복원', noChanges: '차이가 없습니다.', leave: '저장하지 않은 변경 사항이 있습니다. 그래도 나가시겠습니까?', save: '저장', discard: '변경 취소', deleteBoard: '대시보드 삭제',
  deleteSure: '"{title}" 대시보드를 모든 버전과 함께 삭제할까요? 되돌릴 수 없습니다.', saveTitle: '대시보드 저장', copy: '사본', provisioned: '이 대시보드는 서버나 파일이 관리하므로 변경 사항은 사본으로 저장됩니다.',
  conflict: '그 사이 다른 사람이 이 대시보드를 저장했습니다. 지금 저장하면 그 버전을 대체하며, 이전 버전은 기록에 남습니다.', overwrite: '덮어쓰기', message: '변경 내용', messageHint: '버전 목록에 표시됩니다', cancel: '취소',
  done: '완료', undo: '실행 취소', redo: '다시 실행', addRow: '행 추가', newRow: '새 행', general: '일반', variables: '변수', annotations: '주석', links: '링크',
  saveTime: '화면의 시간 범위를 기본값으로 저장({range})', saveVariables: '화면의 변수 값을 기본값으로 저장', changesOf: '변경 {n}건', changesOne: '변경 1건', newOne: '패널 {n}개로 된 새 대시보드입니다.',
  moreChanges: '외 {n}건',
  timezone: '시간대', zoneDefault: '기본값', zoneBrowser: '브라우저', crosshair: '공유 커서', crosshairOff: '없음', crosshairOn: '십자선', crosshairTooltip: '십자선과 도구 설명',
  varName: '이름', varLabel: '레이블', hide: '숨기기', hideNothing: '없음', hideLabel: '레이블', hideVariable: '변수', source: '데이터 소스', query: '쿼리', regex: '정규식', sort: '순서', sortNone: '받은 순서',
  varRefresh: '새로 고침', refreshLoad: '대시보드를 열 때', refreshTime: '시간 범위가 바뀔 때', multi: '여러 값', includeAll: '"전체" 제공', allValue: '"전체"의 값', foundValues: '값 {n}개: {some}', addVariable: '변수 추가',
  annotationName: '이름', enabled: '처음부터 표시', hideSwitch: '스위치 숨기기', step: '간격', titleFormat: '제목', textFormat: '텍스트', tagKeys: '태그로 쓸 레이블', useValueForTime: '값을 시각으로 사용', color: '색상', addAnnotation: '주석 추가',
  annotationsHint: '쿼리 값이 0이 아닌 시점마다 모든 시간 축에 표시합니다.', linkUrl: '주소', linkBoards: '태그가 있는 대시보드', linkTitle: '제목', url: '주소', asDropdown: '펼침 목록으로', includeVars: '변수 값 전달', keepTime: '시간 범위 전달',
  targetBlank: '새 탭에서', addLink: '링크 추가', up: '위로', down: '아래로', noPanel: '이 대시보드에 그런 패널이 더 이상 없습니다.', queries: '쿼리', transformations: '변환', options: '옵션', searchOptions: '옵션 검색', noOption: '해당하는 옵션이 없습니다.',
  queryType: '쿼리 유형', format: '형식', formatSeries: '시계열', formatTable: '표', formatHeatmap: '히트맵', thresholds: '임계값', thresholdMode: '임계값 방식', absolute: '절댓값', percentage: '백분율', base: '기본', thresholdFrom: '임계값 {n}',
  thresholdColor: '임계값 {n} 색상', addThreshold: '임계값 추가', mappings: '값 매핑', mappingKind: '매핑 종류', value: '값', range: '범위', special: '특수', match: '일치', shownText: '표시', addMapping: '매핑 추가', dataLinks: '데이터 링크', panelLinks: '패널 링크',
  overrides: '재정의', matcher: '필드', addProperty: '속성 추가', addOverride: '재정의 추가', addTransformation: '변환 추가', disable: '켜거나 끄기',
};

export const useEditTexts = localTexts(english, korean);
