/** The line above a chart that does not draw all it was given, with the way to draw it all the same. */
import { Button, Icon, useT, useTheme2 } from '../../ui';

export function TooMany({ shown, all, onAll }: { shown: number; all: number; onAll: () => void }) {
  const t = useT();
  const theme = useTheme2();
  return (
    <div role="status" style={{ height: 28, display: 'flex', alignItems: 'center', gap: 8, color: theme.colors.warning.text, fontSize: theme.typography.bodySmall.fontSize }}>
      <Icon name="exclamation-triangle" />
      {t('panel.truncated', { shown, all })}
      <Button size="sm" fill="text" onClick={onAll}>
        {t('panel.showAll')}
      </Button>
    </div>
  );
}
