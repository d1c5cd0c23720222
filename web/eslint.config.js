import hooks from 'eslint-plugin-react-hooks';
import tseslint from 'typescript-eslint';

const noGrafanaUi = {
  patterns: [{ group: ['@grafana/ui', '@grafana/ui/*'], message: 'Only src/ui imports @grafana/ui; take the component from there.' }],
};

/** below forbids a layer to import the layers above it: ui and board know nobody, data knows board, panels know those three, pages know all. */
const below = (files, ...layers) => ({
  files: [files],
  rules: {
    'no-restricted-imports': [
      'error',
      { patterns: [...noGrafanaUi.patterns, { group: layers.map((l) => `**/${l}/**`), message: 'This layer lies below the one imported.' }] },
    ],
  },
});

export default tseslint.config(
  { ignores: ['dist', 'node_modules', 'out'] },
  ...tseslint.configs.recommended,
  { plugins: { 'react-hooks': hooks }, rules: { 'react-hooks/rules-of-hooks': 'error', 'react-hooks/exhaustive-deps': 'error' } },
  {
    rules: {
      'no-restricted-imports': ['error', noGrafanaUi],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      'max-lines': ['error', 600],
      'max-lines-per-function': ['error', { max: 80, skipBlankLines: true, skipComments: true }],
      'no-console': 'error',
    },
  },
  { files: ['src/ui/**'], rules: { 'no-restricted-imports': 'off' } },
  below('src/board/**', 'data', 'panels', 'pages', 'ui'),
  below('src/data/**', 'panels', 'pages', 'ui'),
  below('src/panels/**', 'pages'),
  { files: ['test/**', 'scripts/**', 'src/**/*.test.*'], rules: { 'max-lines-per-function': 'off', 'no-console': 'off', '@typescript-eslint/no-explicit-any': 'off' } }
);
