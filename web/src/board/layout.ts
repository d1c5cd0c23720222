/** Where panels stand: repeats spread out over a variable's values, then everything packed upwards as Grafana's grid does. */
import { constantValue, plainValues, type Scope, type VariableValue } from './interpolate';
import type { GridPos, Panel, Row, Section } from './model';

export const COLUMNS = 24;
export const CELL_HEIGHT = 30;
export const CELL_GAP = 8;

/** PlacedPanel is a panel at its final place, with the values its repeat gave it. */
export interface PlacedPanel {
  panel: Panel;
  /** Unique within the board, also among repeats. */
  key: string;
  pos: GridPos;
  scoped: ReadonlyMap<string, VariableValue>;
}

export interface PlacedSection {
  key: string;
  row: Row | null;
  scoped: ReadonlyMap<string, VariableValue>;
  panels: PlacedPanel[];
}

const NOTHING: ReadonlyMap<string, VariableValue> = new Map();

/** placeSections expands repeated rows and panels and packs each section. */
export function placeSections(sections: readonly Section[], scope: Scope): PlacedSection[] {
  return sections.flatMap((section, index) => {
    const rowScopes = section.row?.repeat ? repeatScopes(section.row.repeat, scope) : [NOTHING];
    return rowScopes.map((scoped, copy): PlacedSection => {
      const key = `${section.row?.id ?? 'top'}-${index}-${copy}`;
      const inner = new Map([...scope, ...scoped]);
      return { key, row: section.row, scoped, panels: compact(section.panels.flatMap((p) => placePanel(p, key, inner, scoped))) };
    });
  });
}

function repeatScopes(variable: string, scope: Scope): ReadonlyMap<string, VariableValue>[] {
  const value = scope.get(variable);
  if (!value) {
    return [NOTHING];
  }
  const values = plainValues(value);
  return values.length === 0 ? [NOTHING] : values.map((v) => new Map([[variable, repeated(v, value)]]));
}

/** repeated keeps the variable's list nature, so that a repeated value is escaped in queries exactly as a picked one. */
function repeated(v: string, of: VariableValue): VariableValue {
  return { ...constantValue(v, of.options.find((o) => o.value === v)?.text ?? v), list: of.list };
}

function placePanel(panel: Panel, sectionKey: string, scope: Scope, rowScope: ReadonlyMap<string, VariableValue>): PlacedPanel[] {
  const scopes = panel.repeat ? repeatScopes(panel.repeat, scope) : [NOTHING];
  const perRow = Math.min(panel.maxPerRow, scopes.length);
  const width = Math.floor(COLUMNS / Math.max(1, perRow));
  return scopes.map((scoped, i): PlacedPanel => {
    let pos = panel.gridPos;
    if (panel.repeat && scopes.length > 1) {
      pos =
        panel.repeatDirection === 'v'
          ? { ...pos, y: pos.y + i * pos.h }
          : { ...pos, w: width, x: (i % perRow) * width, y: pos.y + Math.floor(i / perRow) * pos.h };
    }
    return { panel, key: `${sectionKey}-${panel.id}-${i}`, pos, scoped: new Map([...rowScope, ...scoped]) };
  });
}

/** compact resolves overlaps downwards and closes gaps upwards, keeping the reading order. */
export function compact(panels: readonly PlacedPanel[]): PlacedPanel[] {
  const sorted = [...panels].sort((a, b) => a.pos.y - b.pos.y || a.pos.x - b.pos.x);
  const floor = new Array<number>(COLUMNS).fill(0);
  return sorted.map((p) => {
    const columns = floor.slice(p.pos.x, p.pos.x + p.pos.w);
    const y = Math.max(0, ...columns);
    floor.fill(y + p.pos.h, p.pos.x, p.pos.x + p.pos.w);
    return { ...p, pos: { ...p.pos, y } };
  });
}
