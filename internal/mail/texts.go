package mail

// text is what a mail says in one language.
type text struct {
	subject  string
	greeting string // with the person's name
	lines    []string
	button   string
	until    string // with the time
}

const (
	untilEnglish = "The link works once, until %s."
	untilKorean  = "이 링크는 %s까지 한 번만 사용할 수 있습니다."
	helloEnglish = "Hello %s,"
	helloKorean  = "%s 님, 안녕하세요."
)

var texts = map[Kind]map[string]text{
	Invitation: {
		"en": {"Invitation to join Mangru", helloEnglish, []string{"an account was made for you. Choose a password to sign in to your dashboards."}, "Accept invitation", untilEnglish},
		"ko": {"Mangru 초대", helloKorean, []string{"회원님의 계정이 만들어졌습니다. 비밀번호를 정하고 대시보드에 로그인하세요."}, "초대 수락", untilKorean},
	},
	Verification: {
		"en": {"Verify your e-mail address", helloEnglish, []string{"please confirm that this address is yours."}, "Verify address", untilEnglish},
		"ko": {"이메일 주소 확인", helloKorean, []string{"이 주소가 본인의 것인지 확인해 주세요."}, "주소 확인", untilKorean},
	},
	Reset: {
		"en": {"Choose a new password", helloEnglish, []string{"somebody, hopefully you, asked for a new password. If it was not you, you need not do anything."}, "Choose a password", untilEnglish},
		"ko": {"새 비밀번호 설정", helloKorean, []string{"새 비밀번호 요청을 받았습니다. 본인이 요청하지 않았다면 아무것도 하지 않아도 됩니다."}, "비밀번호 설정", untilKorean},
	},
	Changed: {
		"en": {"Your sign-in was changed", helloEnglish, []string{"your password or second factor was changed. If it was not you, tell your administrator at once."}, "", untilEnglish},
		"ko": {"로그인 정보 변경", helloKorean, []string{"비밀번호 또는 2차 인증 수단이 변경되었습니다. 본인이 변경하지 않았다면 바로 관리자에게 알려 주세요."}, "", untilKorean},
	},
}
