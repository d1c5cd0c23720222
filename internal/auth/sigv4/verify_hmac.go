package sigv4

import "crypto/sha256"

// hmacSHA256 is HMAC (RFC 2104) over data that is in memory as a whole. Unlike
// crypto/hmac it needs no memory of its own, and a request takes it more than
// once. The key has at most one block, 64 bytes.
func hmacSHA256(key, data []byte) [sha256.Size]byte {
	var pad [sha256.BlockSize]byte
	copy(pad[:], key)
	for i := range pad {
		pad[i] ^= 0x36
	}
	var stack [sha256.BlockSize + 256]byte
	inner := sha256.Sum256(append(append(stack[:0], pad[:]...), data...))
	for i := range pad {
		pad[i] ^= 0x36 ^ 0x5c
	}
	return sha256.Sum256(append(append(stack[:0], pad[:]...), inner[:]...))
}

// deriveKey makes the key that signs for one day, region and service.
func deriveKey(secret, date, region, service string) [sha256.Size]byte {
	first := []byte("AWS4" + secret)
	if len(first) > sha256.BlockSize {
		sum := sha256.Sum256(first) // HMAC's rule for keys beyond a block
		first = sum[:]
	}
	k := hmacSHA256(first, []byte(date))
	for _, part := range []string{region, service, terminator} {
		k = hmacSHA256(k[:], []byte(part))
	}
	return k
}
