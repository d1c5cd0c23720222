package directory

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/db"
)

// What is searched for stands for itself, whatever it means in a pattern.
func TestSearch(t *testing.T) {
	records, err := db.Open(t.Context(), filepath.Join(t.TempDir(), "test.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, records.Close()) })
	dir := New(Config{}, records)
	store, err := dir.Store(t.Context(), "000000000000")
	require.NoError(t, err)
	for name, shown := range map[string]string{"ann": "Ann 100%", "a_b": "Under Score", "axb": "Between!", "kim": "김철수"} {
		u := User{StoreID: store.ID, UserName: name}
		u.Profile.DisplayName = shown
		u.Profile.SetEmail(name + "@example.com")
		_, err := dir.CreateUser(t.Context(), "test", u)
		require.NoError(t, err)
	}
	for search, want := range map[string][]string{
		"a_b": {"a_b"}, "_": {"a_b"}, "%": {"ann"}, "0%": {"ann"}, "!": {"axb"}, "ANN": {"ann"}, "철수": {"kim"}, "@EXAMPLE": {"a_b", "ann", "axb", "kim"}, `\`: nil, "'": nil,
	} {
		list, _, err := dir.Users(t.Context(), store.ID, UserFilter{Search: search}, Page{})
		require.NoError(t, err)
		var got []string
		for i := range list {
			got = append(got, list[i].UserName)
		}
		require.Equal(t, want, got, search)
	}
}
