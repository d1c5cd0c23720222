/** Text: markdown, HTML and code, sanitised before they touch the page. */
import { renderTextPanelMarkdown, textUtil } from '@grafana/data';
import { str } from '../../board/json';
import type { VisualProps } from './types';

export default function TextVisual({ panel, replace, width, height }: VisualProps) {
  const mode = str(panel.options.mode, 'markdown');
  const content = replace(str(panel.options.content));
  const style = { width, height, overflow: 'auto' };
  if (mode === 'code') {
    return <pre style={style}>{content}</pre>;
  }
  const html = mode === 'html' ? textUtil.sanitizeTextPanelContent(content) : renderTextPanelMarkdown(content, { noSanitize: false });
  return <div className="markdown-html" style={style} dangerouslySetInnerHTML={{ __html: html }} />;
}

