/** Texts of Explore beyond the query itself, English and Korean. */
import { localTexts } from '../ui';

const english = {
  queryOf: 'PromQL query {ref}', addQuery: 'Add query', removeQuery: 'Remove query {ref}', copyQuery: 'Duplicate query {ref}', hideQuery: 'Hide query {ref}', showQuery: 'Show query {ref}', moreQueries: '{n} queries',
  legend: 'Legend', explain: 'Explain', explainOf: 'Explain query {ref}', metrics: 'Metrics', history: 'History', share: 'Copy link', shared: 'Link copied', fixedTime: 'The link shows these same moments to everybody.',
  back: 'Back to dashboard', addToBoard: 'Add to dashboard', tableOf: 'Table {ref}', queryFailed: 'Query {ref} failed',
  selects: 'Part', series: 'Series', samples: 'Samples read', took: 'Time', means: 'What it does', atEnd: 'Counted at the end of the time range, {time}. Times are the server\'s for each part alone.', nothing: 'none', brokenQuery: 'The query cannot be read: {reason}',
  explainEmpty: 'Write a query first.', emptyHere: 'From here on there is nothing: this part selects no series.',
  searchHistory: 'Search in queries', starred: 'Starred', thisSource: 'This data source', noHistory: 'No query matches. Every query you run is kept here for you alone.', run: 'Run', star: 'Star', unstar: 'Remove star', remove: 'Delete',
  comment: 'Comment', historyOf: 'Queries you ran', more: 'Show more', use: 'Use',
  browse: 'Metrics of this data source', searchMetric: 'Search metrics', kind: 'Type', allKinds: 'All types', shown: '{shown} of {all} metrics', noMetric: 'No metric matches.', chooseMetric: 'Choose a metric to see its labels.', labels: 'Labels',
  valuesOf: 'Values of {label}', values: '{n} values', valuesCut: 'The first {n} values', insert: 'Use this query', asRate: 'As rate per second', searchValue: 'Search values', noHelp: 'No description.',
  chooseBoard: 'Add to which dashboard?', newBoard: 'New dashboard', searchBoards: 'Search dashboards', loading: 'Loading…', retry: 'Try again', cancel: 'Cancel',
};

export type ExploreKey = keyof typeof english;

const korean: Record<ExploreKey, string> = {
  queryOf: 'PromQL 쿼리 {ref}', addQuery: '쿼리 추가', removeQuery: '쿼리 {ref} 제거', copyQuery: '쿼리 {ref} 복제', hideQuery: '쿼리 {ref} 숨기기', showQuery: '쿼리 {ref} 보이기', moreQueries: '쿼리 {n}개',
  legend: '범례', explain: '설명', explainOf: '쿼리 {ref} 설명', metrics: '메트릭', history: '기록', share: '링크 복사', shared: '링크를 복사했습니다', fixedTime: '이 링크는 누구에게나 같은 시각을 보여 줍니다.',
  back: '대시보드로 돌아가기', addToBoard: '대시보드에 추가', tableOf: '표 {ref}', queryFailed: '쿼리 {ref} 실패',
  selects: '부분', series: '계열', samples: '읽은 샘플', took: '시간', means: '하는 일', atEnd: '시간 범위의 끝({time})에서 센 값입니다. 시간은 각 부분만 실행했을 때 서버에서 걸린 시간입니다.', nothing: '없음', brokenQuery: '쿼리를 읽을 수 없습니다: {reason}',
  explainEmpty: '먼저 쿼리를 작성하세요.', emptyHere: '여기부터 데이터가 없습니다. 이 부분이 선택하는 계열이 없습니다.',
  searchHistory: '쿼리에서 검색', starred: '별표', thisSource: '이 데이터 소스', noHistory: '해당하는 쿼리가 없습니다. 실행한 쿼리는 본인만 볼 수 있게 여기에 남습니다.', run: '실행', star: '별표 달기', unstar: '별표 제거', remove: '삭제',
  comment: '메모', historyOf: '실행한 쿼리', more: '더 보기', use: '사용',
  browse: '이 데이터 소스의 메트릭', searchMetric: '메트릭 검색', kind: '유형', allKinds: '모든 유형', shown: '메트릭 {all}개 중 {shown}개', noMetric: '해당하는 메트릭이 없습니다.', chooseMetric: '메트릭을 고르면 레이블이 표시됩니다.', labels: '레이블',
  valuesOf: '{label} 값', values: '값 {n}개', valuesCut: '처음 {n}개 값', insert: '이 쿼리 사용', asRate: '초당 증가율로', searchValue: '값 검색', noHelp: '설명이 없습니다.',
  chooseBoard: '어느 대시보드에 추가할까요?', newBoard: '새 대시보드', searchBoards: '대시보드 검색', loading: '불러오는 중…', retry: '다시 시도', cancel: '취소',
};

export const useExploreTexts = localTexts(english, korean);
