/**
 * Stands in for react-dom/server at build time. @grafana/ui uses it in one place, to make a tooltip's text of a truncated heading;
 * the real one would add a second renderer of 140 kB to every page.
 */
import { isValidElement, type ReactNode } from 'react';

function text(node: ReactNode): string {
  if (typeof node === 'string' || typeof node === 'number') {
    return String(node);
  }
  if (Array.isArray(node)) {
    return node.map(text).join('');
  }
  return isValidElement<{ children?: ReactNode }>(node) ? text(node.props.children) : '';
}

/** renderToStaticMarkup answers the text of a node, escaped as HTML text is. */
export function renderToStaticMarkup(node: ReactNode): string {
  return text(node).replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
}

export default { renderToStaticMarkup };
