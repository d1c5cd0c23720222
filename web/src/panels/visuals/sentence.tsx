/** A panel that has something to say in place of something to draw. */
import { useTheme2 } from '../../ui';

/** Sentence fills a panel with one sentence, in the middle. */
export function Sentence({ text, children }: { text: string; children?: React.ReactNode }) {
  const theme = useTheme2();
  return (
    <div
      role="status"
      style={{
        height: '100%', display: 'flex', flexDirection: 'column', gap: 8, alignItems: 'center', justifyContent: 'safe center', textAlign: 'center', overflow: 'auto',
        color: theme.colors.text.secondary, padding: 8,
      }}
    >
      <span style={{ overflowWrap: 'anywhere', maxWidth: '100%' }}>{text}</span>
      {children}
    </div>
  );
}

