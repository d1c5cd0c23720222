/** Stands in for Grafana's Monaco editor at build time: shows code, read-only. */

interface Props {
  value?: string;
  width?: number | string;
  height?: number | string;
}

export function CodeEditor({ value = '', width, height }: Props) {
  return (
    <pre tabIndex={0} style={{ width, height, overflow: 'auto', margin: 0 }}>
      {value}
    </pre>
  );
}

export { CodeEditor as ReactMonacoEditorLazy };
