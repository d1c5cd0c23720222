/** Table. */
import { FieldType, getFieldDisplayName, type DataFrame } from '@grafana/data';
import { useMemo, useState } from 'react';
import { numberOr, oneOf } from '../options';
import { obj, objects, str } from '../../board/json';
import { Select } from '../../ui';
import { TableViz } from '../../ui/viz/table';
import type { VisualProps } from './types';

export default function TableVisual(p: VisualProps) {
  const o = p.panel.options;
  const [picked, setPicked] = useState<number | null>(null);
  const frames = p.frames.filter((f) => f.fields.length > 0);
  const index = Math.min(picked ?? numberOr(o.frameIndex, 0), Math.max(0, frames.length - 1));
  const frame = frames[index];
  const shown = useMemo(() => (frame ? visibleColumns(frame) : undefined), [frame]);
  const sortBy = useMemo(() => readSort(o, shown), [o, shown]);
  if (!shown) {
    return null;
  }
  const many = frames.length > 1;
  const choices = many ? frames.map((f, value) => ({ value, label: frameTitle(f, frames) })) : [];
  return (
    <div>
      <TableViz
        frame={shown}
        width={p.width}
        height={p.height - (many ? 40 : 0)}
        label={p.panel.title}
        noHeader={o.showHeader === false}
        sortBy={sortBy}
        cellHeight={oneOf(o.cellHeight, ['sm', 'md', 'lg'], 'sm') as never}
        pagination={obj(o.footer).enablePagination === true || o.enablePagination === true}
        fieldConfig={p.fieldConfig}
      />
      {many && (
        <div style={{ paddingTop: 8 }}>
          <Select aria-label={p.panel.title} options={choices} value={index} onChange={(v) => setPicked(v.value ?? 0)} />
        </div>
      )}
    </div>
  );
}

/** readSort reads the order of rows; old tables named a column by its place. */
function readSort(o: VisualProps['panel']['options'], frame: DataFrame | undefined): { displayName: string; desc: boolean }[] {
  const column = typeof o.legacySortColumn === 'number' ? frame?.fields[o.legacySortColumn] : undefined;
  if (column && frame) {
    return [{ displayName: getFieldDisplayName(column, frame), desc: o.legacySortDesc === true }];
  }
  return objects(o.sortBy).map((s) => ({ displayName: str(s.displayName), desc: s.desc === true }));
}

function frameTitle(frame: DataFrame, frames: DataFrame[]): string {
  const value = frame.fields.find((f) => f.type === FieldType.number);
  return value ? getFieldDisplayName(value, frame, frames) : (frame.name ?? frame.refId ?? '');
}

/** visibleColumns takes out columns that were hidden by an override, which the table itself also honours under another name. */
function visibleColumns(frame: DataFrame): DataFrame {
  const fields = frame.fields.filter((f) => f.config.custom?.hidden !== true && f.config.custom?.hideFrom?.viz !== true);
  return fields.length === frame.fields.length ? frame : { ...frame, fields };
}

