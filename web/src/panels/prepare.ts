/** From the frames queries gave to the frames a panel draws: transformations, then field options. */
import {
  applyFieldOverrides, cacheFieldDisplayNames, FieldType, standardTransformers, standardTransformersRegistry, transformDataFrame, type DataFrame, type DataTransformerInfo,
  type FieldConfigSource, type GrafanaTheme2, type InterpolateFunction,
} from '@grafana/data';
import { firstValueFrom } from 'rxjs';
import type { Panel } from '../board/model';
import { fieldRegistry, withDefaults } from './field_config';

let registered = false;

/** registerTransformations tells @grafana/data which transformations exist; calling it again does nothing. */
export function registerTransformations(): void {
  if (registered) {
    return;
  }
  registered = true;
  const nothing = () => null;
  // joinByField stands in the list twice, under its old name as well.
  const byId = new Map(Object.values(standardTransformers).map((t) => [t.id, t]));
  standardTransformersRegistry.setInit(() =>
    [...byId.values()].map((t) => ({
      id: t.id, name: t.name, transformation: () => Promise.resolve(t as DataTransformerInfo), editor: nothing, imageDark: '', imageLight: '',
      aliasIds: t.id === 'joinByField' ? ['seriesToColumns'] : undefined,
    }))
  );
}

/** transform runs a panel's transformations. Unknown ones are left out and named. */
export async function transform(panel: Panel, frames: DataFrame[], replace: InterpolateFunction): Promise<{ frames: DataFrame[]; unknown: string[] }> {
  registerTransformations();
  const wanted = panel.transformations.filter((t) => !t.disabled);
  const known = wanted.filter((t) => standardTransformersRegistry.getIfExists(t.id) !== undefined);
  const unknown = wanted.filter((t) => !known.includes(t)).map((t) => t.id);
  if (known.length === 0 || frames.length === 0) {
    return { frames, unknown };
  }
  return { frames: await firstValueFrom(transformDataFrame(known, frames, { interpolate: replace })), unknown };
}

/** applyOptions gives every field its unit, colour, thresholds, name and so on. */
export function applyOptions(panel: Panel, frames: DataFrame[], theme: GrafanaTheme2, timeZone: string, replace: InterpolateFunction): { frames: DataFrame[]; fieldConfig: FieldConfigSource } {
  const fieldConfig = withDefaults(panel.type, panel.fieldConfig);
  const applied = applyFieldOverrides({
    data: frames.map(clean), fieldConfig, fieldConfigRegistry: fieldRegistry, replaceVariables: replace, theme, timeZone,
  });
  // The table reads names from this cache alone; without it a renamed column shows its old name.
  cacheFieldDisplayNames(applied);
  return { frames: applied, fieldConfig };
}

/** clean forgets names and states a former run cached in the frames: with other options they would be wrong. */
function clean(frame: DataFrame): DataFrame {
  return { ...frame, fields: frame.fields.map((f) => ({ ...f, state: undefined })) };
}

/** graphable keeps frames a time series can draw, with hidden fields taken out. */
export function graphable(frames: DataFrame[]): DataFrame[] {
  return frames
    .filter((f) => f.fields.some((x) => x.type === FieldType.time) && f.fields.some((x) => x.type === FieldType.number))
    .map((f) => {
      const time = f.fields.find((x) => x.type === FieldType.time);
      const fields = f.fields.filter((x) => x === time || x.type === FieldType.number);
      return { ...f, fields: time && fields[0] !== time ? [time, ...fields.filter((x) => x !== time)] : fields };
    });
}

/** hasValues tells whether anything is there to draw. */
export function hasValues(frames: readonly DataFrame[]): boolean {
  return frames.some((f) => f.length > 0 && f.fields.length > 0);
}

/** toCsv writes a table as CSV. Cells that a spreadsheet would run as a formula are quoted as text. */
export function toCsv(frame: DataFrame): string {
  const cell = (v: unknown) => {
    const s = v === null || v === undefined ? '' : String(v);
    const safe = typeof v === 'string' && /^[=+\-@\t\r]/.test(s) ? `'${s}` : s;
    return /[",\n\r]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
  };
  const lines = [frame.fields.map((f) => cell(f.config.displayName ?? f.name)).join(',')];
  for (let row = 0; row < frame.length; row++) {
    lines.push(frame.fields.map((f) => cell(f.type === FieldType.time ? new Date(Number(f.values[row])).toISOString() : f.values[row])).join(','));
  }
  return lines.join('\r\n');
}
