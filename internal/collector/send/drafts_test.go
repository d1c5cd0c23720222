package send

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDrafts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d drafts
		first := d.borrow()
		d.giveBack(first)
		require.Same(t, first, d.borrow(), "while it is free there is one")

		// Who finds it in use waits, and has it if that is soon over.
		soon := make(chan *draft)
		go func() { soon <- d.borrow() }()
		time.Sleep(draftPatience / 2)
		d.giveBack(first)
		require.Same(t, first, <-soon)

		// Others come when it is not, no more than there are processors.
		others := make(chan *draft, runtime.GOMAXPROCS(0))
		for range cap(others) {
			go func() { others <- d.borrow() }()
		}
		time.Sleep(time.Second)
		require.Len(t, others, cap(others)-1)
		d.giveBack(first)
		synctest.Wait()
		require.Len(t, others, cap(others))
		all := map[*draft]bool{}
		for range cap(others) {
			one := <-others
			all[one] = true
			d.giveBack(one)
		}
		require.Len(t, all, cap(others))
		require.True(t, all[first])
		require.Len(t, d.more, cap(others)-1)

		// What is not needed for a while is forgotten.
		time.Sleep(2 * draftIdle)
		d.giveBack(d.borrow())
		require.Empty(t, d.more)
	})
}
