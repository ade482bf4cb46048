"""What the web client's function reads from its environment."""

from commons.settings import FunctionSettings

NO_SIGN_IN_PAGE = "none"
"""SSM holds no empty value."""


class Settings(FunctionSettings):
    """What the page is told.

    Attributes:
        websocket_url: where its session connects.
        sign_in_url: the user pool's hosted pages, without a slash at the end, or "none".
        jwt_audience: the app client that signs in there.
        demo_sign_in_url: an address of this machine that signs demo users in; empty on AWS, where
            the template's pattern admits no other.
        emulator_endpoint: where an emulator serves /{apiId}/{stage}, as host:port/path; empty on AWS.
    """

    websocket_url: str
    sign_in_url: str
    jwt_audience: str
    demo_sign_in_url: str = ""
    emulator_endpoint: str = ""

    def base_path(self, *, path: str, api_id: str, stage: str) -> str:
        """Where browsers find the page, with a slash at the end.

        Args:
            path: of the request as its context has it: on AWS the one in the address, with the stage
                or a domain's base path; on an emulator "/".
            api_id: the API's.
            stage: the API's.
        """
        if not self.emulator_endpoint:
            return path.rstrip("/") + "/"
        return f"/{self.emulator_endpoint.partition('/')[2]}/{api_id}/{stage}/"
