/** The table: Grafana's TableNG with its cell types, sorting and pagination. */
import type { DataFrame, FieldConfigSource } from '@grafana/data';
import type { TableCellHeight } from '@grafana/schema';
import { TableNG } from '@grafana/ui/unstable';

export interface TableVizProps {
  frame: DataFrame;
  width: number;
  height: number;
  label: string;
  noHeader?: boolean;
  sortBy?: { displayName: string; desc?: boolean }[];
  cellHeight?: TableCellHeight;
  pagination?: boolean;
  fieldConfig?: FieldConfigSource;
  structureRev?: number;
  /** Give columns the width their content needs instead of sharing the room evenly. */
  fitContent?: boolean;
}

export function TableViz(props: TableVizProps) {
  return (
    <TableNG
      data={props.frame}
      width={props.width}
      height={props.height}
      ariaLabel={props.label}
      noHeader={props.noHeader}
      sortBy={props.sortBy}
      cellHeight={props.cellHeight}
      enablePagination={props.pagination}
      fieldConfig={props.fieldConfig}
      structureRev={props.structureRev}
      contentAwareWidthsEnabled={props.fitContent}
      resizable
      transparent
    />
  );
}
