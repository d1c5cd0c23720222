/** Answers the queries of template variables from a Prometheus data source, in the texts Grafana's regexes expect. */
import { resolveDataSource, type DataSource } from '../board/datasource';
import { interpolate } from '../board/interpolate';
import type { Fetcher } from '../board/variables';
import { PrometheusApi, type Labels, type Range } from './prometheus';

/** variableFetcher makes the Fetcher for one range of time. */
export function variableFetcher(sources: readonly DataSource[], range: Range): Fetcher {
  return async (v, query, scope, signal) => {
    const found = resolveDataSource(v.datasource, sources, (s) => interpolate(s, scope, { format: 'raw' }));
    if (found.kind !== 'found') {
      throw new Error(found.kind === 'unsupported' ? `data source "${found.type}" is not supported here` : 'there is no data source to ask');
    }
    const api = new PrometheusApi(found.source.uid);
    switch (query.kind) {
      case 'label_values':
        return api.labelValues(query.label, query.match, range, signal);
      case 'label_names':
        return api.labelNames(query.match, range, signal);
      case 'metrics': {
        const pattern = new RegExp(query.pattern);
        return (await api.labelValues('__name__', '', range, signal)).filter((n) => pattern.test(n));
      }
      case 'series':
        return (await api.series(query.match, range, 0, signal)).map(seriesText);
      case 'query_result': {
        const { data } = await api.instant(query.expr, range.to, signal);
        if (data.resultType === 'vector') {
          return data.result.map((s) => `${seriesText(s.metric)} ${s.value?.[1] ?? ''} ${(s.value?.[0] ?? 0) * 1000}`);
        }
        return data.resultType === 'matrix' ? data.result.map((s) => seriesText(s.metric)) : [data.result[1]];
      }
    }
  };
}

/** seriesText writes a series as `metric{label="value"}`, which published boards match with their regexes. */
export function seriesText(metric: Labels): string {
  const { __name__: name = '', ...labels } = metric;
  return `${name}{${Object.entries(labels).map(([k, v]) => `${k}="${v}"`).join(',')}}`;
}
