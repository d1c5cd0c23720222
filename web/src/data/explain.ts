/** Takes a PromQL query apart, so that each of its parts can be said in a sentence and measured on its own. */
import { parser } from '@prometheus-io/lezer-promql';

type SyntaxNode = ReturnType<typeof parser.parse>['topNode'];

/** What a part evaluates to. */
export type ValueKind = 'vector' | 'matrix' | 'scalar' | 'string';

/** How two sides of an operator find each other. */
export interface Matching {
  kind: 'on' | 'ignoring';
  labels: string[];
  /** Which side may have several series for one of the other, with the labels taken over. */
  group?: { side: 'left' | 'right'; labels: string[] };
}

/** Part is one expression of a query with the parts that it is made of. */
export interface Part {
  kind: 'selector' | 'matrix' | 'subquery' | 'call' | 'aggregate' | 'binary' | 'unary' | 'number' | 'string' | 'shift' | 'at' | 'broken';
  /** The part as it stands in the query. */
  text: string;
  value: ValueKind;
  /** Metric, function, aggregation or operator. */
  name: string;
  matchers: string[];
  grouping: { kind: 'by' | 'without'; labels: string[] } | null;
  matching: Matching | null;
  /** With `bool` a comparison answers 0 and 1 instead of leaving series out. */
  bool: boolean;
  /** The range of a matrix or subquery, the offset of a shift, the moment of an `@`. */
  duration: string;
  /** The step of a subquery; empty for the default. */
  step: string;
  children: Part[];
}

/** explainQuery answers the tree of a query, or null for text that is empty. What the grammar does not know is of kind `broken`. */
export function explainQuery(expr: string): Part | null {
  const top = parser.parse(expr).topNode;
  const child = top.firstChild;
  return child && expr.trim() !== '' ? read(child, expr) : null;
}

/** flatten lists a part and everything in it, each with its depth; literals stand in their parent's sentence already. */
export function flatten(part: Part, depth = 0): { part: Part; depth: number }[] {
  const inner = part.children.filter((c) => c.kind !== 'number' && c.kind !== 'string');
  return [{ part, depth }, ...inner.flatMap((c) => flatten(c, depth + 1))];
}

/** measureOf is the query that tells how many series a part has: for a number, the number itself. Texts have none. */
export function measureOf(part: Part): string {
  switch (part.value) {
    case 'vector':
      return `count(${part.text})`;
    case 'matrix':
      return `count(count_over_time(${part.text}))`;
    case 'scalar':
      return part.text;
    default:
      return '';
  }
}

function read(node: SyntaxNode, expr: string): Part {
  const part = blank(expr.slice(node.from, node.to));
  switch (node.name) {
    case 'ParenExpr': {
      const inner = expressions(node)[0];
      return inner ? read(inner, expr) : part;
    }
    case 'VectorSelector':
      return { ...part, kind: 'selector', name: textOf(node.getChild('Identifier'), expr), matchers: matchersOf(node, expr) };
    case 'NumberDurationLiteral':
      return { ...part, kind: 'number', value: 'scalar' };
    case 'StringLiteral':
      return { ...part, kind: 'string', value: 'string' };
    case 'FunctionCall':
      return call(node, expr, part);
    case 'AggregateExpr': {
      const modifier = node.getChild('AggregateModifier');
      const grouping = modifier && { kind: modifier.getChild('By') ? ('by' as const) : ('without' as const), labels: labelsOf(modifier.getChild('GroupingLabels'), expr) };
      return { ...part, kind: 'aggregate', name: textOf(node.getChild('AggregateOp'), expr).toLowerCase(), grouping, children: argumentsOf(node, expr) };
    }
    case 'BinaryExpr':
      return binary(node, expr, part);
    case 'MatrixSelector':
    case 'SubqueryExpr':
    case 'OffsetExpr':
    case 'StepInvariantExpr':
    case 'UnaryExpr':
      return wrapped(node, expr, part);
    default:
      return { ...part, kind: 'broken' };
  }
}

function blank(text: string): Part {
  return { kind: 'broken', text, value: 'vector', name: '', matchers: [], grouping: null, matching: null, bool: false, duration: '', step: '', children: [] };
}

const SCALARS = new Set(['scalar', 'time', 'pi']);

function call(node: SyntaxNode, expr: string, part: Part): Part {
  const name = textOf(node.getChild('FunctionIdentifier'), expr);
  return { ...part, kind: 'call', name, value: SCALARS.has(name) ? 'scalar' : 'vector', children: argumentsOf(node, expr) };
}

/** wrapped reads what adds something to one inner expression. */
function wrapped(node: SyntaxNode, expr: string, part: Part): Part {
  const inner = expressions(node)[0];
  const children = inner ? [read(inner, expr)] : [];
  const value = children[0]?.value ?? 'vector';
  const durations = node.getChildren('DurationExpr').map((d) => expr.slice(d.from, d.to));
  const after = (mark: string) => part.text.slice(part.text.lastIndexOf(mark) + mark.length).trim();
  switch (node.name) {
    case 'MatrixSelector':
      return { ...part, kind: 'matrix', value: 'matrix', duration: durations[0] ?? '', children };
    case 'SubqueryExpr':
      return { ...part, kind: 'subquery', value: 'matrix', duration: durations[0] ?? '', step: durations[1] ?? '', children };
    case 'OffsetExpr':
      return { ...part, kind: 'shift', value, duration: after('offset'), children };
    case 'StepInvariantExpr':
      return { ...part, kind: 'at', value, duration: after('@'), children };
    default:
      return { ...part, kind: 'unary', value, name: part.text.trim().slice(0, 1), children };
  }
}

function binary(node: SyntaxNode, expr: string, part: Part): Part {
  const sides = expressions(node);
  const [left, right] = sides;
  if (!left || !right) {
    return { ...part, kind: 'broken' };
  }
  const children = [read(left, expr), read(right, expr)];
  const operator = /^\s*\)*\s*(==|!=|>=|<=|[-+*/%^<>]|and\b|or\b|unless\b|atan2\b)/i.exec(expr.slice(left.to))?.[1]?.toLowerCase() ?? '';
  const clause = node.getChild('MatchingModifierClause');
  return {
    ...part, kind: 'binary', name: operator, bool: node.getChild('BoolModifier') !== null, children, matching: clause && matchingOf(clause, expr),
    value: children.every((c) => c.value === 'scalar') ? 'scalar' : 'vector',
  };
}

function matchingOf(clause: SyntaxNode, expr: string): Matching {
  const [labels, taken] = clause.getChildren('GroupingLabels').map((g) => labelsOf(g, expr));
  const side = clause.getChild('GroupLeft') ? 'left' : clause.getChild('GroupRight') ? 'right' : null;
  return { kind: clause.getChild('On') ? 'on' : 'ignoring', labels: labels ?? [], ...(side ? { group: { side, labels: taken ?? [] } } : {}) };
}

const EXPRESSION = /^(ParenExpr|VectorSelector|NumberDurationLiteral|StringLiteral|FunctionCall|AggregateExpr|BinaryExpr|MatrixSelector|SubqueryExpr|OffsetExpr|StepInvariantExpr|UnaryExpr)$/;

function expressions(node: SyntaxNode): SyntaxNode[] {
  const out: SyntaxNode[] = [];
  for (let child = node.firstChild; child; child = child.nextSibling) {
    if (EXPRESSION.test(child.name)) {
      out.push(child);
    }
  }
  return out;
}

function argumentsOf(node: SyntaxNode, expr: string): Part[] {
  const body = node.getChild('FunctionCallBody');
  return body ? expressions(body).map((n) => read(n, expr)) : [];
}

function labelsOf(node: SyntaxNode | null, expr: string): string[] {
  const out: string[] = [];
  for (let child = node?.firstChild ?? null; child; child = child.nextSibling) {
    out.push(expr.slice(child.from, child.to));
  }
  return out;
}

function matchersOf(node: SyntaxNode, expr: string): string[] {
  const out: string[] = [];
  for (let child = node.getChild('LabelMatchers')?.firstChild ?? null; child; child = child.nextSibling) {
    if (/Matcher$/.test(child.name)) {
      out.push(expr.slice(child.from, child.to));
    }
  }
  return out;
}

function textOf(node: SyntaxNode | null, expr: string): string {
  return node ? expr.slice(node.from, node.to) : '';
}
