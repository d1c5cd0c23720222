/**
 * The one door to @grafana/ui: everything else in this UI imports components from here (the linter refuses other imports), so that
 * an upgrade or a replacement touches this folder alone.
 */
export {
  Alert, Badge, BarGauge, BigValue, BigValueColorMode, BigValueGraphMode, BigValueJustifyMode, BigValueTextMode, Button, ClipboardButton,
  Collapse, DataLinksContextMenu, Drawer, Dropdown, EmptyState, ErrorBoundaryAlert, FilterInput, Icon, IconButton, InlineField, Input, LinkButton,
  LoadingPlaceholder, Menu, Modal, MultiSelect, PanelChrome, PanelContextProvider, RadioButtonGroup, RefreshPicker, Select, Spinner,
  Tab, TabsBar, TabContent, TagList, Text, TextArea, TimeRangePicker, ToolbarButton, Tooltip, useStyles2, useTheme2, VizLayout, VizLegend, VizRepeater,
  getTagColorsFromName,
} from '@grafana/ui';
export type { IconName } from '@grafana/data';
export { ThemeProvider, useThemeMode, type ThemeMode } from './theme';
export { I18nProvider, localTexts, useT, useLanguage, type Language, type LocalT, type MessageKey } from './i18n';
