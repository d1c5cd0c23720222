/** Starts the UI. */
import { initPluginTranslations } from '@grafana/i18n';
import { createRoot } from 'react-dom/client';
import 'uplot/dist/uPlot.min.css';
import { App } from './app';
import './ui/base.css';
import { seedIcons } from './ui/icons';

seedIcons();
// @grafana/ui's own texts are English; without this its components refuse to translate at all.
void initPluginTranslations('mangru').then(() => {
  const root = document.getElementById('root');
  if (root) {
    createRoot(root).render(<App />);
  }
});
