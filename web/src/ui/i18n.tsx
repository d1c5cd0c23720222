/** English and Korean texts, typed: a key that is missing in one language does not compile. */
import { createContext, useContext, useEffect, useMemo, useState, type ReactNode } from 'react';
import { english } from './messages_en';

export type MessageKey = keyof typeof english;
export type Messages = Record<MessageKey, string>;
export type Language = 'en' | 'ko';

/** T gives a text; `{name}` in it is replaced by the value of that name. */
export type T = (key: MessageKey, values?: Record<string, string | number>) => string;

const STORAGE_KEY = 'mangru.language';
// Korean is a script of its own: most readers need one language.
const dictionaries: { en: Messages; ko: Messages | null } = { en: english, ko: null };

/** loadLanguage makes a language's texts ready. */
export async function loadLanguage(language: Language): Promise<void> {
  if (language === 'ko' && !dictionaries.ko) {
    dictionaries.ko = (await import('./messages_ko')).korean;
  }
}

interface I18n {
  language: Language;
  setLanguage: (l: Language) => void;
  t: T;
}

/** translate fills a text of one language. */
export function translate(language: Language, key: MessageKey, values: Record<string, string | number> = {}): string {
  return (dictionaries[language] ?? english)[key].replace(/\{(\w+)\}/g, (whole, name: string) => (name in values ? String(values[name]) : whole));
}

function initialLanguage(): Language {
  const stored = localStorage.getItem(STORAGE_KEY);
  if (stored === 'en' || stored === 'ko') {
    return stored;
  }
  return navigator.language.toLowerCase().startsWith('ko') ? 'ko' : 'en';
}

const I18nContext = createContext<I18n>({ language: 'en', setLanguage: () => undefined, t: (k, v) => translate('en', k, v) });

export function I18nProvider({ children }: { children: ReactNode }) {
  const [wanted, setWanted] = useState<Language>(initialLanguage);
  // The page stays as it is, with all that people have not saved, until the texts of another language are there.
  const [language, setLanguage] = useState<Language | null>(wanted === 'en' ? 'en' : null);
  useEffect(() => {
    let current = true;
    // Without its texts a page still works, in English.
    const done = () => {
      if (current) {
        document.documentElement.lang = wanted;
        setLanguage(wanted);
      }
    };
    loadLanguage(wanted).then(done, done);
    return () => {
      current = false;
    };
  }, [wanted]);
  const value = useMemo<I18n | null>(
    () =>
      language && {
        language,
        setLanguage: (l) => {
          localStorage.setItem(STORAGE_KEY, l);
          setWanted(l);
        },
        t: (key, values) => translate(language, key, values),
      },
    [language]
  );
  return value && <I18nContext.Provider value={value}>{children}</I18nContext.Provider>;
}

export function useT(): T {
  return useContext(I18nContext).t;
}

export function useLanguage(): Pick<I18n, 'language' | 'setLanguage'> {
  return useContext(I18nContext);
}

/** LocalT is T for the texts of one page. */
export type LocalT<K extends string> = (key: K, values?: Record<string, string | number>) => string;

/** localTexts makes a hook for texts that travel with the page that shows them. A key that is missing in one language does not compile. */
export function localTexts<K extends string>(english: Record<K, string>, korean: Record<K, string>): () => LocalT<K> {
  const of = (all: Record<K, string>): LocalT<K> => (key, values = {}) => all[key].replace(/\{(\w+)\}/g, (whole, name: string) => (name in values ? String(values[name]) : whole));
  const [en, ko] = [of(english), of(korean)];
  return () => (useLanguage().language === 'ko' ? ko : en);
}
