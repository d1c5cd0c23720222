/** Puts Explore's queries onto a board: the board opens with a new panel that is not saved yet. */
import { useState } from 'react';
import { useNavigate } from 'react-router';
import type { DataSource } from '../board/datasource';
import { searchBoards } from '../data/api';
import { Alert, Button, FilterInput, LoadingPlaceholder, Modal } from '../ui';
import { useLoad } from '../ui/hooks';
import type { Json } from './board_json';
import type { ExploreQuery, Kind } from './explore_state';
import { useExploreTexts } from './explore_texts';

interface Props {
  queries: readonly ExploreQuery[];
  kind: Kind;
  source: DataSource | undefined;
  onClose: () => void;
}

const MAX_SHOWN = 50;

export default function AddToBoard({ queries, kind, source, onClose }: Props) {
  const x = useExploreTexts();
  const navigate = useNavigate();
  const [text, setText] = useState('');
  const boards = useLoad(`boards ${text}`, (signal) => searchBoards(text, [], signal));
  const go = (path: string) => void navigate(path, { state: { addPanel: panelOf(queries, kind, source) } });
  return (
    <Modal isOpen title={x('chooseBoard')} onDismiss={onClose}>
      <Button icon="plus" onClick={() => go('/dashboard/new')}>
        {x('newBoard')}
      </Button>
      <div style={{ margin: '16px 0 8px' }}>
        <FilterInput value={text} onChange={setText} placeholder={x('searchBoards')} aria-label={x('searchBoards')} />
      </div>
      {boards.error && <Alert severity="error" title={boards.error.message} buttonContent={x('retry')} onRemove={boards.reload} />}
      {!boards.value && !boards.error && <LoadingPlaceholder text={x('loading')} />}
      <ul style={{ listStyle: 'none', maxHeight: 320, overflow: 'auto' }}>
        {(boards.value ?? []).slice(0, MAX_SHOWN).map((b) => (
          <li key={b.uid}>
            <Button fill="text" onClick={() => go(`/d/${b.uid}`)}>
              {b.folderTitle ? `${b.folderTitle} / ` : ''}
              {b.title}
            </Button>
          </li>
        ))}
      </ul>
    </Modal>
  );
}

/** panelOf draws what Explore shows: a graph, or a table for queries of one moment. */
function panelOf(queries: readonly ExploreQuery[], kind: Kind, source: DataSource | undefined): Json {
  const datasource = source ? { type: source.type, uid: source.uid } : null;
  const instant = kind === 'instant';
  return {
    type: instant ? 'table' : 'timeseries', datasource,
    targets: queries.map((q) => ({ refId: q.refId, expr: q.expr, legendFormat: q.legend, hide: q.hidden, datasource, ...(instant ? { instant: true, range: false, format: 'table' } : { range: true, instant: false }) })),
  };
}
