//go:build !unix

package memory

// processTime is not known here: the heap then keeps the least room.
func processTime() float64 { return 0 }
