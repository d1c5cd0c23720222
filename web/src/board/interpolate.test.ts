import { describe, expect, it } from 'vitest';
import { constantValue, interpolate, referencedVariables, type VariableValue } from './interpolate';
import { ALL } from './model';

const options = ['a.b', 'c|d', 'e'].map((v) => ({ text: v, value: v }));
const list = (value: string | string[], allValue = ''): VariableValue => ({ value, text: value, list: true, allValue, options });
const single = (value: string) => constantValue(value);

const scope = new Map<string, VariableValue>([
  ['none', list([])],
  ['one', list(['a.b'])],
  ['many', list(['a.b', 'c|d'])],
  ['all', list([ALL])],
  ['allStar', list([ALL], '.*')],
  ['allEmpty', list([ALL], '()')],
  ['plain', single('a.b')],
  ['quote', single('say "hi" \\ there')],
  ['star', single('.*')],
  ['n', single('5')],
  ['nested', list([ALL], '$plain.*')],
]);

describe('PromQL', () => {
  it.each([
    // whole matcher values
    ['up{i=~"$none"}', 'up{i=~"()"}'],
    ['up{i=~"$one"}', 'up{i=~"a\\\\.b"}'],
    ['up{i=~"$many"}', 'up{i=~"(a\\\\.b|c\\\\|d)"}'],
    ['up{i=~"$all"}', 'up{i=~"(a\\\\.b|c\\\\|d|e)"}'],
    ['up{i!~"$many"}', 'up{i!~"(a\\\\.b|c\\\\|d)"}'],
    ['up{i=~"$allStar"}', 'up{i=~".*"}'],
    ['up{i=~"$allEmpty"}', 'up{i=~"()"}'],
    // inside a longer regex
    ['up{i=~"$one:9100"}', 'up{i=~"a\\\\.b:9100"}'],
    ['up{i=~"$many:9100"}', 'up{i=~"(a\\\\.b|c\\\\|d):9100"}'],
    ['up{i=~".*$many.*"}', 'up{i=~".*(a\\\\.b|c\\\\|d).*"}'],
    ['up{i=~"^$one$"}', 'up{i=~"^a\\\\.b$"}'],
    // a single variable is text, not a pattern: a text box may hold one on purpose
    ['up{i=~"$star"}', 'up{i=~".*"}'],
    ['up{i="$plain"}', 'up{i="a.b"}'],
    ['up{i="$quote"}', 'up{i="say \\"hi\\" \\\\ there"}'],
    // one picked value of a list stands literally behind = and !=
    ['up{i="$one"}', 'up{i="a.b"}'],
    ['up{i!="$one"}', 'up{i!="a.b"}'],
    // outside of strings
    ['topk($n, up)', 'topk(5, up)'],
    ['rate(up[$__rate_interval])', 'rate(up[1m])'],
    ['rate(up[${__rate_interval}])', 'rate(up[1m])'],
    // what is not a variable survives
    ['label_replace(up, "x", "$1", "y", "(.*)")', 'label_replace(up, "x", "$1", "y", "(.*)")'],
    ['up{i="$unknown"}', 'up{i="$unknown"}'],
    // other spellings
    ['up{i=~"${one}x"}', 'up{i=~"a\\\\.bx"}'],
    ['up{i=~"[[one]]"}', 'up{i=~"a\\\\.b"}'],
    ['up{i=~"${many:pipe}"}', 'up{i=~"a.b|c|d"}'],
    ['up{i=~"${many:regex}"}', 'up{i=~"(a\\.b|c\\|d)"}'],
    ['sum by (${many:csv}) (up)', 'sum by (a.b,c|d) (up)'],
    ['up{i=~"${many:glob}"}', 'up{i=~"{a.b,c|d}"}'],
    ['up{i=~"${one:value}"}', 'up{i=~"a.b"}'],
    ['up{i=~"$nested"}', 'up{i=~"a.b.*"}'],
    // a quote inside another string does not confuse the search for the matcher
    ["up{a='\"', i=~\"$many\"}", "up{a='\"', i=~\"(a\\\\.b|c\\\\|d)\"}"],
  ])('%s', (text, want) => {
    expect(interpolate(text, scope, { format: 'promql', builtins: { __rate_interval: '1m' } })).toBe(want);
  });
});

it('writes what a person picked into titles', () => {
  expect(interpolate('CPU of $many, $all', scope, { format: 'text' })).toBe('CPU of a.b + c|d, All');
});

it('writes links', () => {
  expect(interpolate('/d/x?${many:queryparam}&${all:queryparam}', scope, { format: 'text' })).toBe('/d/x?var-many=a.b&var-many=c%7Cd&var-all=%24__all');
  const range = { from: 1_700_000_000_000, to: 1_700_003_600_000 };
  expect(interpolate('?from=$__from&to=${__to:date:seconds}', scope, { format: 'text', range })).toBe('?from=1700000000000&to=1700003600');
});

it('lists the variables of a text', () => {
  expect(referencedVariables('a{b="$x",c="${y:regex}",d="[[z]]"} $__interval $1')).toEqual(['x', 'y', 'z']);
});
