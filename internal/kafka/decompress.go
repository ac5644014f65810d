package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/segmentio/kafka-go/compress"
)

// maxPlainBytes bounds the records of one batch after decompression.
const maxPlainBytes = 64 << 20

var errPlainBytes = fmt.Errorf("more than %d bytes of records", maxPlainBytes)

// codecs decompress the records of a batch. gzip and lz4 are kafka-go's. snappy
// and zstd are not: its readers allocate what the compressed bytes announce, up
// to gigabytes, before anyone can object.
type codecs struct {
	zstd *zstd.Decoder
}

func newCodecs() (*codecs, error) {
	d, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(0), // as many at a time as there are processors; the default stops at four
		zstd.WithDecoderMaxMemory(maxPlainBytes),
		zstd.WithDecoderMaxWindow(maxPlainBytes),
		zstd.WithDecoderLowmem(true),
	)
	if err != nil {
		return nil, err
	}
	return &codecs{zstd: d}, nil
}

// decompress returns src as codec, a code of the batch attributes, says.
func (c *codecs) decompress(codec int16, src []byte) ([]byte, error) {
	switch k := compress.Compression(codec); k { //nolint:gosec // three bits
	case compress.None:
		return src, nil
	case compress.Snappy:
		return unsnappy(src)
	case compress.Zstd:
		plain, err := c.zstd.DecodeAll(src, nil)
		if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
			return nil, fmt.Errorf("zstd: %w", errPlainBytes)
		}
		return plain, err
	case compress.Gzip, compress.Lz4:
		return readPlain(k.Codec().NewReader(bytes.NewReader(src)))
	}
	return nil, fmt.Errorf("unknown compression %d", codec)
}

func readPlain(r io.ReadCloser) ([]byte, error) {
	plain, err := io.ReadAll(io.LimitReader(r, maxPlainBytes+1))
	err = errors.Join(err, r.Close())
	switch {
	case err != nil:
		return nil, err
	case len(plain) > maxPlainBytes:
		return nil, errPlainBytes
	}
	return plain, nil
}

// unsnappy decodes one snappy block, or a sequence of them in the framing of
// the Java library that the Java client uses: a 16 byte header, then blocks
// behind their 4 byte length.
func unsnappy(src []byte) ([]byte, error) {
	const xerialHeader = 16
	magic := []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}
	if !bytes.HasPrefix(src, magic) {
		return appendBlock(nil, src)
	}
	if len(src) < xerialHeader {
		return nil, io.ErrUnexpectedEOF
	}
	var plain []byte
	for src = src[xerialHeader:]; len(src) > 0; {
		if len(src) < 4 {
			return nil, io.ErrUnexpectedEOF
		}
		n := int64(binary.BigEndian.Uint32(src))
		src = src[4:]
		if n > int64(len(src)) {
			return nil, io.ErrUnexpectedEOF
		}
		var err error
		if plain, err = appendBlock(plain, src[:n]); err != nil {
			return nil, err
		}
		src = src[n:]
	}
	return plain, nil
}

func appendBlock(plain, block []byte) ([]byte, error) {
	n, err := snappy.DecodedLen(block)
	switch {
	case err != nil:
		return nil, err
	case n > maxPlainBytes-len(plain):
		return nil, errPlainBytes
	}
	decoded, err := snappy.Decode(nil, block)
	if err != nil {
		return nil, err
	}
	if plain == nil {
		return decoded, nil
	}
	return append(plain, decoded...), nil
}
