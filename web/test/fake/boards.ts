/** Boards of the fake server: one like the node board people know, and one with every state a panel can be in. */
import { HOSTILE } from './prometheus.ts';

const prometheus = { type: 'prometheus', uid: '${datasource}' };

interface Extra {
  [key: string]: unknown;
}

let nextId = 1;

function panel(type: string, title: string, gridPos: [number, number, number, number], exprs: [string, string?][], extra: Extra = {}): Extra {
  const [x, y, w, h] = gridPos;
  return {
    id: nextId++, type, title, gridPos: { x, y, w, h }, datasource: prometheus,
    targets: exprs.map(([expr, legendFormat], i) => ({ refId: String.fromCharCode(65 + i), expr, legendFormat: legendFormat ?? '', datasource: prometheus, ...(type === 'table' ? { instant: true, range: false, format: 'table' } : {}) })),
    options: {}, fieldConfig: { defaults: {}, overrides: [] }, ...extra,
  };
}

const unit = (u: string, more: Extra = {}) => ({ fieldConfig: { defaults: { unit: u, ...more }, overrides: [] } });
const area = { custom: { fillOpacity: 10, lineWidth: 1 } };
const gauge = (u = 'percentunit') => unit(u, { min: 0, max: 1, thresholds: { mode: 'absolute', steps: [{ color: 'green', value: null }, { color: 'orange', value: 0.7 }, { color: 'red', value: 0.9 }] } });

const variable = (name: string, query: string, more: Extra = {}) => ({ name, type: 'query', query, datasource: prometheus, refresh: 2, sort: 1, multi: true, includeAll: true, current: { text: ['All'], value: ['$__all'] }, hide: 0, ...more });

const nodes = {
  uid: 'nodes', title: 'Kubernetes / Compute Resources / Node (Groups)', tags: ['kubernetes', 'node'], schemaVersion: 39, graphTooltip: 1, time: { from: 'now-1h', to: 'now' }, refresh: '10s',
  templating: {
    list: [
      variable('nodegroup', 'label_values(node_load1, nodegroup)'),
      variable('node', 'label_values(node_load1{nodegroup=~"$nodegroup"}, node)'),
      { name: 'datasource', type: 'datasource', query: 'prometheus', hide: 2, current: {} },
    ],
  },
  panels: [
    panel('timeseries', 'Total Nodes', [0, 0, 12, 6], [['sum(kube_node_info{node=~"$node"})']], unit('none', area)),
    panel('stat', 'Pod Count - Total', [12, 0, 4, 6], [['count(kube_pod_info)']], { options: { graphMode: 'none' }, ...unit('none') }),
    panel('stat', 'Pod Count - Running', [16, 0, 4, 6], [['count(kube_pod_info{namespace="shop"})']]),
    panel('stat', 'Pod Count - Not Running', [20, 0, 4, 6], [['count(kube_pod_status_phase{phase="Pending"})']], unit('none', { noValue: '0' })),
    panel('timeseries', 'CPU Utilization', [0, 6, 12, 9], [['1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle",node=~"$node"}[$__rate_interval]))', '{{instance}}-cpu-utilization']], unit('percentunit', area)),
    panel('timeseries', 'Memory Utilization', [12, 6, 12, 9], [['1 - node_memory_MemAvailable_bytes{node=~"$node"} / node_memory_MemTotal_bytes', '{{instance}}-memory-utilization']], unit('percentunit', area)),
    panel('timeseries', 'Network I/O', [0, 15, 12, 9], [['rate(node_network_receive_bytes_total{node=~"$node"}[5m])', '{{instance}}-network-in'], ['-rate(node_network_transmit_bytes_total{node=~"$node"}[5m])', '{{instance}}-network-out']], {
      ...unit('Bps', area),
      options: { legend: { displayMode: 'table', placement: 'right', showLegend: true, calcs: ['mean', 'lastNotNull'] }, tooltip: { mode: 'multi', sort: 'desc' } },
    }),
    panel('timeseries', 'Load Avg (1m)', [12, 15, 12, 9], [['node_load1{node=~"$node"}', '{{instance}}']], unit('short', area)),
  ],
  links: [{ title: 'Dashboards', type: 'dashboards', tags: ['kubernetes'], includeVars: true, keepTime: true }],
};

const cluster = {
  uid: 'cluster', title: 'Kubernetes EKS Cluster (Prometheus)', tags: ['kubernetes'], schemaVersion: 39, time: { from: 'now-30m', to: 'now' },
  templating: { list: [{ name: 'datasource', type: 'datasource', query: 'prometheus', hide: 2, current: {} }, variable('namespace', 'label_values(kube_pod_info, namespace)', { multi: false })] },
  panels: [
    { id: 900, type: 'row', title: 'Cluster Health', collapsed: false, gridPos: { x: 0, y: 0, w: 24, h: 1 }, panels: [] },
    panel('gauge', 'Cluster Pod Usage', [0, 1, 6, 5], [['sum(kube_pod_info) / 58']], gauge()),
    panel('gauge', 'Cluster CPU Usage', [6, 1, 6, 5], [['sum(rate(node_cpu_seconds_total[5m])) / 48']], gauge()),
    panel('gauge', 'Cluster Memory Usage', [12, 1, 6, 5], [['avg(node_load1)/2']], gauge()),
    panel('bargauge', 'Load per node', [18, 1, 6, 5], [['node_load1', '{{node}}']], { ...gauge('short'), options: { displayMode: 'gradient', orientation: 'horizontal' } }),
    { id: 901, type: 'row', title: 'Deployments', collapsed: false, gridPos: { x: 0, y: 6, w: 24, h: 1 }, panels: [] },
    panel('table', 'Deployment Replicas', [0, 7, 12, 7], [['sum by (namespace, deployment) (kube_deployment_status_replicas)']], {
      transformations: [{ id: 'organize', options: { excludeByName: { Time: true }, renameByName: { Value: 'Replicas' } } }],
      fieldConfig: { defaults: { custom: { align: 'auto' } }, overrides: [{ matcher: { id: 'byName', options: 'Replicas' }, properties: [{ id: 'custom.cellOptions', value: { type: 'color-background', mode: 'basic' } }, { id: 'thresholds', value: { mode: 'absolute', steps: [{ color: 'red', value: null }, { color: 'green', value: 2 }] } }] }] },
    }),
    panel('stat', 'Memory per pod', [12, 7, 12, 7], [['container_memory_working_set_bytes{namespace=~"$namespace"}', '{{pod}}']], unit('bytes')),
    { id: 902, type: 'row', title: 'Pods of $namespace', collapsed: true, gridPos: { x: 0, y: 14, w: 24, h: 1 }, panels: [panel('timeseries', 'Pod CPU', [0, 15, 24, 9], [['rate(container_cpu_usage_seconds_total{namespace=~"$namespace"}[5m])', '{{pod}}']], unit('short'))] },
  ],
};

const states = {
  uid: 'states', title: `States ${HOSTILE}`, tags: ['test'], schemaVersion: 39, time: { from: 'now-15m', to: 'now' },
  templating: { list: [{ name: 'broken', type: 'query', query: 'label_values(up{', refresh: 1, current: {} }] },
  panels: [
    panel('timeseries', 'No such metric', [0, 0, 8, 6], [['sum(rate(not_there_total[5m]))']], { datasource: null }),
    panel('timeseries', 'No such label', [8, 0, 8, 6], [['node_load1{node="nowhere"}']], { datasource: null }),
    panel('stat', 'Query error', [16, 0, 8, 6], [['sum(up']], { datasource: null }),
    panel('nodeGraph', 'Unknown type', [0, 6, 8, 6], [['up']], { datasource: null }),
    panel('text', 'Text', [8, 6, 8, 6], [], { options: { mode: 'html', content: `<b>bold</b><script>window.__xss=2</script><a href="javascript:window.__xss=3">x</a>${HOSTILE}` } }),
    panel('table', HOSTILE, [16, 6, 8, 6], [['hostile_metric']], { datasource: null }),
    panel('timeseries', 'Hostile legend', [0, 12, 12, 6], [['hostile_metric', '{{pod}}']], { datasource: null, description: HOSTILE }),
    panel('timeseries', 'Other source', [12, 12, 12, 6], [['up']], { datasource: { type: 'cloudwatch', uid: 'cw' }, targets: [{ refId: 'A', expr: 'up' }] }),
    panel('timeseries', 'Slow', [0, 18, 12, 6], [['node_load5 + 0 # slow']], { datasource: null }),
  ],
};

export const boards = [nodes, cluster, states];
