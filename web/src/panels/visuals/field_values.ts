/** The single values that stats, gauges, bars and pies show: fields reduced by the panel's calculation, or every row. */
import { getFieldDisplayValues, type FieldDisplay } from '@grafana/data';
import { useMemo } from 'react';
import { obj, str, strings } from '../../board/json';
import { useTheme2 } from '../../ui';
import type { VisualProps } from './types';

export function useFieldValues(p: VisualProps, sparkline: boolean): () => FieldDisplay[] {
  const theme = useTheme2();
  return useMemo(() => {
    const reduce = obj(p.panel.options.reduceOptions);
    const calcs = strings(reduce.calcs);
    const reduceOptions = {
      calcs: calcs.length > 0 ? calcs : ['lastNotNull'],
      values: reduce.values === true,
      fields: str(reduce.fields),
      ...(typeof reduce.limit === 'number' ? { limit: reduce.limit } : {}),
    };
    let cached: FieldDisplay[] | null = null;
    return () =>
      (cached ??= getFieldDisplayValues({
        fieldConfig: p.fieldConfig, reduceOptions, replaceVariables: p.replace, theme, data: p.frames, sparkline, timeZone: p.timeZone,
      }));
  }, [p.fieldConfig, p.panel.options.reduceOptions, p.replace, theme, p.frames, sparkline, p.timeZone]);
}

/** Percent units without limits run to 100 %, as Grafana's gauges do. */
export function gaugeField(value: FieldDisplay): FieldDisplay['field'] {
  const f = value.field;
  const min = f.min ?? 0;
  const max = f.max ?? (f.unit === 'percentunit' ? 1 : 100);
  return { ...f, min, max };
}

