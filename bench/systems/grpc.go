package systems

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// gRPC is grpc-go. Its messages are the bytes themselves, without protobuf around them: the less it has to do, the
// harder it is to beat.
type gRPC struct{}

func (gRPC) Name() string { return "grpc" }

// bytesCodec passes *[]byte through.
type bytesCodec struct{}

func (bytesCodec) Marshal(v any) ([]byte, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("%T is no *[]byte", v)
	}
	return *b, nil
}

func (bytesCodec) Unmarshal(data []byte, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("%T is no *[]byte", v)
	}
	*b = append([]byte(nil), data...) // grpc takes data back
	return nil
}

func (bytesCodec) Name() string { return "bytes" }

const echoMethod, pushMethod = "/bench.Echo/echo", "/bench.Echo/push"

var echoService = grpc.ServiceDesc{
	ServiceName: "bench.Echo",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "echo",
		Handler: func(_ any, _ context.Context, read func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			data := new([]byte)
			return data, read(data)
		},
	}},
	Streams: []grpc.StreamDesc{{StreamName: "push", ClientStreams: true, Handler: takeAll}},
}

func takeAll(_ any, s grpc.ServerStream) error {
	for {
		var data []byte
		if err := s.RecvMsg(&data); err != nil {
			return s.SendMsg(new([]byte)) // the client has closed its side, or is gone
		}
	}
}

const maxGRPCMessage = 64 << 20

func (gRPC) Serve(t Transport) (Server, error) {
	l, addr, remove, err := listen(t)
	if err != nil {
		return nil, err
	}
	s := grpc.NewServer(grpc.ForceServerCodec(bytesCodec{}), grpc.MaxRecvMsgSize(maxGRPCMessage))
	s.RegisterService(&echoService, new(any))
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	return &server{addr, closers{func() error { s.Stop(); return <-done }, remove}}, nil
}

func (gRPC) Dial(ctx context.Context, t Transport, addr string) (Caller, error) {
	security := insecure.NewCredentials()
	where := addr
	if t == TLS {
		at, cfg, err := clientTLS(addr)
		if err != nil {
			return nil, err
		}
		where, security = at, credentials.NewTLS(cfg)
	}
	network := "tcp"
	if t == Unix {
		network = "unix"
	}
	c, err := grpc.NewClient("passthrough:///"+where,
		grpc.WithTransportCredentials(security),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		}),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(bytesCodec{}), grpc.MaxCallRecvMsgSize(maxGRPCMessage)))
	if err != nil {
		return nil, err
	}
	caller := grpcCaller{c}
	return caller, caller.Echo(ctx, []byte("hello"))
}

type grpcCaller struct{ *grpc.ClientConn }

func (c grpcCaller) Echo(ctx context.Context, data []byte) error {
	var got []byte
	err := c.Invoke(ctx, echoMethod, &data, &got)
	return checkEchoed(got, data, err)
}

func (c grpcCaller) Stream(ctx context.Context, data []byte, n int) error {
	s, err := c.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, pushMethod)
	if err != nil {
		return err
	}
	for range n {
		if err := s.SendMsg(&data); err != nil {
			return err
		}
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	var nothing []byte
	return s.RecvMsg(&nothing)
}
