/** The PromQL editor, with completion and linting from Prometheus' own CodeMirror extension. Loaded when Explore opens. */
import { autocompletion, closeBrackets, closeBracketsKeymap, closeCompletion, completionKeymap } from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap } from '@codemirror/commands';
import { bracketMatching, HighlightStyle, syntaxHighlighting } from '@codemirror/language';
import { lintKeymap } from '@codemirror/lint';
import { Compartment, EditorState, Prec } from '@codemirror/state';
import { EditorView, keymap, placeholder } from '@codemirror/view';
import type { GrafanaTheme2, TimeRange } from '@grafana/data';
import { tags } from '@lezer/highlight';
import { PromQLExtension } from '@prometheus-io/codemirror-promql';
import { useEffect, useRef } from 'react';
import { PromqlClient } from '../data/promql_client';
import { useTheme2 } from '../ui';

interface Props {
  value: string;
  label: string;
  sourceUid: string;
  range: TimeRange;
  onChange: (text: string) => void;
  onRun: (text: string) => void;
}

export default function PromqlEditor(props: Props) {
  const theme = useTheme2();
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);
  const look = useRef(new Compartment());
  const latest = useRef(props);
  latest.current = props;
  useEffect(() => {
    if (!host.current) {
      return;
    }
    const range = () => ({ from: latest.current.range.from.valueOf(), to: latest.current.range.to.valueOf() });
    const promql = new PromQLExtension().setComplete({ remote: new PromqlClient(latest.current.sourceUid, range) });
    const run = (v: EditorView) => {
      closeCompletion(v);
      latest.current.onRun(v.state.doc.toString());
      return true;
    };
    const editor = new EditorView({
      parent: host.current,
      state: EditorState.create({
        doc: latest.current.value,
        extensions: [
          history(),
          bracketMatching(),
          closeBrackets(),
          autocompletion(),
          EditorView.lineWrapping,
          EditorView.contentAttributes.of({ 'aria-label': latest.current.label }),
          placeholder('sum by (job) (up)'),
          promql.asExtension(),
          Prec.highest(keymap.of([{ key: 'Shift-Enter', run }, { key: 'Mod-Enter', run }])),
          keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap, ...completionKeymap, ...lintKeymap]),
          EditorView.updateListener.of((u) => u.docChanged && latest.current.onChange(u.state.doc.toString())),
          look.current.of(appearance(theme)),
        ],
      }),
    });
    view.current = editor;
    return () => editor.destroy();
    // The editor lives as long as its data source; text and theme are brought in by the effects below.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [props.sourceUid]);
  useEffect(() => {
    const editor = view.current;
    if (editor && editor.state.doc.toString() !== props.value) {
      editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: props.value } });
    }
  }, [props.value]);
  useEffect(() => view.current?.dispatch({ effects: look.current.reconfigure(appearance(theme)) }), [theme]);
  return <div ref={host} data-testid="promql-editor" />;
}

function appearance(theme: GrafanaTheme2) {
  const { colors, typography, shape } = theme;
  const highlight = HighlightStyle.define([
    { tag: tags.labelName, color: theme.visualization.getColorByName('green') },
    { tag: tags.string, color: theme.visualization.getColorByName(theme.isDark ? 'light-orange' : 'dark-orange') },
    { tag: tags.number, color: theme.visualization.getColorByName(theme.isDark ? 'light-blue' : 'dark-blue') },
    { tag: [tags.function(tags.variableName), tags.keyword, tags.modifier], color: theme.visualization.getColorByName(theme.isDark ? 'light-purple' : 'dark-purple') },
    { tag: tags.comment, color: colors.text.secondary },
    { tag: tags.invalid, color: colors.error.text },
  ]);
  return [
    syntaxHighlighting(highlight),
    EditorView.theme(
      {
        '&': { color: colors.text.primary, backgroundColor: colors.background.canvas, border: `1px solid ${colors.border.medium}`, borderRadius: shape.radius.default, fontSize: typography.body.fontSize },
        '&.cm-focused': { outline: `2px solid ${colors.primary.main}`, outlineOffset: '1px' },
        '.cm-content': { fontFamily: typography.fontFamilyMonospace, caretColor: colors.text.primary, padding: '6px 0' },
        '.cm-cursor': { borderLeftColor: colors.text.primary },
        '.cm-placeholder': { color: colors.text.disabled },
        '.cm-tooltip': { backgroundColor: colors.background.elevated, color: colors.text.primary, border: `1px solid ${colors.border.weak}`, zIndex: String(theme.zIndex.portal) },
        '.cm-tooltip.cm-tooltip-autocomplete > ul > li[aria-selected]': { backgroundColor: colors.action.selected, color: colors.text.primary },
        '.cm-completionDetail': { color: colors.text.primary, fontStyle: 'normal', marginLeft: '1em' },
        '.cm-completionMatchedText': { textDecoration: 'underline', fontWeight: '600', color: colors.text.primary },
        '.cm-selectionBackground, &.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground': { backgroundColor: colors.action.focus },
        '.cm-matchingBracket': { backgroundColor: colors.action.selected },
        '.cm-diagnostic': { color: colors.text.primary },
      },
      { dark: theme.isDark }
    ),
  ];
}
