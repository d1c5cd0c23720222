/** The annotations near the cursor, in words, below a tooltip's values. */
import { useTheme2 } from '@grafana/ui';
import type { Mark } from './marks';

export function MarkList({ marks }: { marks: readonly Mark[] }) {
  const theme = useTheme2();
  if (marks.length === 0) {
    return null;
  }
  return (
    <ul style={{ listStyle: 'none', margin: 0, padding: 8, borderTop: `1px solid ${theme.colors.border.weak}`, maxWidth: 320 }}>
      {marks.map((m, i) => (
        <li key={i} style={{ display: 'flex', gap: 6 }}>
          <span aria-hidden style={{ width: 8, height: 8, marginTop: 6, flex: 'none', background: m.color }} />
          <span style={{ overflowWrap: 'anywhere' }}>
            {m.title !== '' && <strong>{m.title} </strong>}
            {m.text}
            {m.tags.length > 0 && <small style={{ color: theme.colors.text.secondary }}> {m.tags.join(', ')}</small>}
          </span>
        </li>
      ))}
    </ul>
  );
}
