/** The buttons of a board's bar for those who may change it. What changes a board comes when it is first wanted. */
import { lazy, Suspense, useState } from 'react';
import type { TimeRange } from '@grafana/data';
import type { DataSource } from '../board/datasource';
import type { Resolved } from '../board/variables';
import { starBoard, type Saved } from '../data/boards_api';
import { Button, IconButton, useT } from '../ui';
import { sameBoard, type Json } from './board_json';
import type { Draft } from './use_draft';

const EditBar = lazy(() => import('./edit_bar'));

export interface BoardMeta {
  canSave?: boolean;
  canDelete?: boolean;
  canStar?: boolean;
  isStarred?: boolean;
  provisioned?: boolean;
  folderUid?: string;
}

export interface EditState {
  uid: string;
  meta: BoardMeta;
  base: Json;
  draft: Draft;
  arranging: boolean;
  arrange: (on: boolean) => void;
  saved: (result: Saved) => void;
  deleted: () => void;
  reload: () => void;
}

/** OnScreen is what a save may take over as the board's defaults. */
export interface OnScreen {
  sources: readonly DataSource[];
  range: TimeRange;
  variables: readonly Resolved[];
}

export function EditTools({ edit, screen }: { edit: EditState; screen: OnScreen }) {
  const t = useT();
  const dirty = edit.draft.value !== null && !sameBoard(edit.draft.value, edit.base);
  return (
    <>
      {edit.meta.canStar && edit.uid !== '' && <Star uid={edit.uid} starred={edit.meta.isStarred === true} />}
      {edit.meta.canSave && !edit.arranging && (
        <Button variant="secondary" icon="pen" onClick={() => edit.arrange(true)}>
          {t('edit.edit')}
        </Button>
      )}
      {(edit.arranging || dirty || edit.draft.problem !== '') && edit.meta.canSave && (
        <Suspense fallback={null}>
          <EditBar edit={edit} screen={screen} dirty={dirty} />
        </Suspense>
      )}
    </>
  );
}

function Star({ uid, starred }: { uid: string; starred: boolean }) {
  const t = useT();
  const [on, setOn] = useState(starred);
  const toggle = () => {
    setOn(!on);
    void starBoard(uid, !on).catch(() => setOn(on));
  };
  return <IconButton name={on ? 'favorite' : 'star'} size="lg" iconType={on ? 'mono' : 'default'} tooltip={t(on ? 'edit.unstar' : 'edit.star')} aria-pressed={on} onClick={toggle} />;
}
